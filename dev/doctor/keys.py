"""The key files that seal what is stored: readable by us, and by nobody else."""

import stat
from collections.abc import Sequence
from pathlib import Path

from dev.doctor.configured import Configured
from dev.doctor.findings import Finding, failed, ok, warning
from services.auth.vault import KeyFileUnusable as AuthKeyUnusable
from services.auth.vault import read_key
from services.voice.blobs import KeyFileUnusable as VoiceKeyUnusable
from services.voice.blobs import read_keys


async def check_keys(configured: Configured) -> Sequence[Finding]:
    found = []
    if configured.auth:
        found.append(_judged("auth", configured.auth.key_file, _auth_trouble(configured.auth.key_file)))
    if configured.voice:
        found.append(_judged("voice", configured.voice.key_file, _voice_trouble(configured.voice.key_file)))
    return found


def _auth_trouble(file: Path) -> str:
    try:
        read_key(file)
    except AuthKeyUnusable as error:
        return str(error)
    return ""


def _voice_trouble(file: Path) -> str:
    try:
        read_keys(file)
    except VoiceKeyUnusable as error:
        return str(error)
    return ""


def _judged(service: str, file: Path, trouble: str) -> Finding:
    what = f"key file ({service})"
    if trouble:
        fix = "put back the file that was used so far; a new one opens nothing that was stored"
        return failed(what, trouble, fix)
    if file.stat().st_mode & stat.S_IRWXO:
        return warning(what, "everybody on this machine may read it", f"chmod o= {file}")
    return ok(what, "it holds keys, and not everybody may read it")
