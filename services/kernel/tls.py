"""Who a process is to the others: a certificate of its own, and the authority that it believes."""

import ssl
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
        files = {
            "TLS_CERTIFICATE_FILE": self.certificate_file,
            "TLS_KEY_FILE": self.key_file,
            "TLS_AUTHORITY_FILE": self.authority_file,
        }
        given = {name: file for name, file in files.items() if file}
        if given and len(given) < len(files):
            raise ValueError("a certificate, its key and an authority are needed together")
        for name, file in given.items():
            if not file.is_file():
                raise ValueError(f"{name}: there is no file {file}")
        if given:
            self._try()
        return self

    def _try(self) -> None:
        """gRPC would only say that it cannot listen."""
        trial = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            # An empty password in place of a question to whoever sits at the terminal.
            trial.load_cert_chain(str(self.certificate_file), str(self.key_file), password="")
        except (OSError, ValueError):
            raise ValueError(
                "TLS_CERTIFICATE_FILE and TLS_KEY_FILE hold no certificate and its key"
            ) from None
        try:
            trial.load_verify_locations(str(self.authority_file))
        except (OSError, ValueError):
            raise ValueError("TLS_AUTHORITY_FILE holds no certificate") from None

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
