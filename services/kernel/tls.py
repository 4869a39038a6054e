"""Who a process is to the others: a certificate of its own, and the authority that it believes."""

from pathlib import Path

import grpc
from pydantic import model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class TlsSettings(BaseSettings):
    """From TLS_* variables. All or none: with them every call to and from this process is mutual TLS."""

    model_config = SettingsConfigDict(env_prefix="TLS_", frozen=True)

    certificate_file: Path | None = None
    key_file: Path | None = None
    # Who signed the certificates of the others.
    authority_file: Path | None = None

    @model_validator(mode="after")
    def _whole(self) -> "TlsSettings":
        given = [file for file in (self.certificate_file, self.key_file, self.authority_file) if file]
        if given and len(given) < 3:
            raise ValueError("a certificate, its key and an authority are needed together")
        for file in given:
            if not file.is_file():
                raise ValueError(f"there is no file {file}")
        return self

    @property
    def on(self) -> bool:
        return self.certificate_file is not None

    def for_server(self) -> grpc.ServerCredentials:
        """Renewed files count from the next connection on; callers without a certificate are refused."""
        return grpc.dynamic_ssl_server_credentials(
            self._server_configuration(), self._renewed, require_client_authentication=True
        )

    def for_channels(self) -> grpc.ChannelCredentials:
        """As the files are now: a process that is to use renewed ones starts again."""
        certificate, key, authority = self._read()
        return grpc.ssl_channel_credentials(authority, key, certificate)

    def _server_configuration(self) -> grpc.ServerCertificateConfiguration:
        certificate, key, authority = self._read()
        return grpc.ssl_server_certificate_configuration([(key, certificate)], authority)

    def _renewed(self) -> grpc.ServerCertificateConfiguration | None:
        """None, and so the one in use, while the files are being replaced."""
        try:
            return self._server_configuration()
        except OSError:
            return None

    def _read(self) -> tuple[bytes, bytes, bytes]:
        assert self.certificate_file and self.key_file and self.authority_file  # noqa: S101 - all or none
        return (
            self.certificate_file.read_bytes(),
            self.key_file.read_bytes(),
            self.authority_file.read_bytes(),
        )
