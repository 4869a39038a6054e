"""What the services' settings name: databases, stores, keys, providers. Wrong settings are findings."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from pydantic_settings import BaseSettings

from dev.doctor.findings import Finding, failed, ok
from services.auth.settings import Settings as AuthSettings
from services.content.settings import Settings as ContentSettings
from services.kernel.settings import SECRETS_DIR, SettingsWrong, read
from services.kernel.tls import TlsSettings
from services.perform.settings import Settings as PerformSettings
from services.synthesis.engines.elevenlabs.settings import ElevenLabsSettings
from services.synthesis.settings import Settings as SynthesisSettings
from services.voice.settings import Settings as VoiceSettings

_KINDS: Final[Mapping[str, type[BaseSettings]]] = {
    "auth": AuthSettings,
    "voice": VoiceSettings,
    "content": ContentSettings,
    "synthesis": SynthesisSettings,
    "perform": PerformSettings,
}


@dataclass(slots=True)
class Configured:
    """Of each service that something is set for; a store that several share is named by all of them."""

    auth: AuthSettings | None = None
    voice: VoiceSettings | None = None
    content: ContentSettings | None = None
    synthesis: SynthesisSettings | None = None
    perform: PerformSettings | None = None
    elevenlabs: ElevenLabsSettings | None = None
    tls: TlsSettings | None = None
    findings: list[Finding] = field(default_factory=list)

    def databases(self) -> dict[str, dict[str, str]]:
        """By URL: the name of each service's database."""
        found: dict[str, dict[str, str]] = {}
        for service, settings in self._those("auth", "voice", "perform"):
            name = settings.database if service == "auth" else settings.mongo_database
            found.setdefault(str(settings.mongo_url), {})[service] = name
        return found

    def caches(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for service, settings in self._those("auth", "voice", "content", "synthesis"):
            if settings.valkey_url:
                found.setdefault(str(settings.valkey_url), []).append(service)
        return found

    def blobs(self) -> dict[str, str]:
        return {service: settings.blob_url for service, settings in self._those("voice", "perform")}

    def peers(self) -> dict[str, str]:
        """The services that are called by address."""
        callers = self._those("auth", "voice", "perform")
        found = {name: getattr(each, f"{name}_address", "") for _, each in callers for name in _KINDS}
        return {name: address for name, address in found.items() if address}

    def folders(self) -> list[Path]:
        """Where audio is kept, as far as that is on this machine."""
        parts = [urlsplit(url) for url in self.blobs().values()]
        return [Path(unquote(part.path)) for part in parts if part.scheme == "file"]

    def _those(self, *services: str) -> list[tuple[str, Any]]:
        found = [(name, getattr(self, name)) for name in services]
        return [(name, settings) for name, settings in found if settings is not None]


def read_configured() -> Configured:
    """From our environment, as the services would read it."""
    configured, given = Configured(), _given()
    for name, kind in _KINDS.items():
        if not given.isdisjoint(_variables(kind)):
            _add(configured, name, kind)
    if configured.synthesis and "elevenlabs" in configured.synthesis.engines:
        _add(configured, "elevenlabs", ElevenLabsSettings)
    _add(configured, "tls", TlsSettings)
    if not configured.findings:
        named = [name for name in _KINDS if getattr(configured, name) is not None]
        configured.findings.append(
            ok("settings", f"those of {', '.join(named)} can be read")
            if named
            else failed("settings", "none of any service is set", "start a stack with `./newvisions up`")
        )
    return configured


def _add(configured: Configured, name: str, kind: type[BaseSettings]) -> None:
    try:
        setattr(configured, name, read(kind))
    except SettingsWrong as wrong:
        for line in str(wrong).splitlines():
            fix = "set it as docs/settings.md says, and start the service again"
            configured.findings.append(failed("settings", line, fix))


def _given() -> set[str]:
    folder = os.environ.get(SECRETS_DIR)
    files = [path.name for path in Path(folder).iterdir()] if folder and Path(folder).is_dir() else []
    return {name.upper() for name in (*os.environ, *files)}


def _variables(kind: type[BaseSettings]) -> set[str]:
    prefix = str(kind.model_config.get("env_prefix", ""))
    return {f"{prefix}{name}".upper() for name in kind.model_fields}
