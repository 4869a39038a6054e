"""Providers' keys: shown to the provider with a request that costs nothing, and never to anybody else."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Final

import httpx
from pydantic import HttpUrl

from dev.doctor.clock import judged
from dev.doctor.configured import Configured
from dev.doctor.findings import Check, Finding, failed, ok, skipped, warning
from services.content.settings import Settings as ContentSettings
from services.kernel.settings import read_secret

_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Provider:
    what: str
    url: str
    headers: Mapping[str, str]
    # The setting that holds the key, or names its file.
    setting: str
    told: Callable[[Mapping[str, Any]], str]


def provider_checks(configured: Configured) -> list[Check]:
    """One for each key; one that says so when there is none."""
    checks = [*_elevenlabs(configured), *_models(configured.content)]
    return checks or [_nothing]


async def _nothing() -> Sequence[Finding]:
    return [skipped("provider keys", "none is set, so voice and texts are made here")]


def _elevenlabs(configured: Configured) -> list[Check]:
    found: list[tuple[str, Path, HttpUrl]] = []
    voice, engine = configured.voice, configured.elevenlabs
    if voice and voice.provider and voice.elevenlabs_api_key_file:
        found.append(("voice", voice.elevenlabs_api_key_file, voice.elevenlabs_base_url))
    if engine:
        found.append(("synthesis", engine.api_key_file, engine.base_url))

    def check(service: str, file: Path, base: HttpUrl) -> Check:
        async def look() -> Sequence[Finding]:
            what, setting = f"ElevenLabs key ({service})", f"{service.upper()}_ELEVENLABS_API_KEY_FILE"
            try:
                key = read_secret(file)
            except ValueError as error:
                return [failed(what, str(error), f"put the key into the file that {setting} names")]
            url = f"{str(base).rstrip('/')}/v1/user/subscription"
            return await _shown(Provider(what, url, {"xi-api-key": key}, setting, _plan))

        return look

    return [check(*each) for each in found]


def _plan(answer: Mapping[str, Any]) -> str:
    voices = f"{answer['voice_slots_used']} of {answer['voice_limit']} voices used"
    left = int(answer["character_limit"]) - int(answer["character_count"])
    return f"it is good: plan {answer['tier']}, {voices}, {left} characters left"


def _models(content: ContentSettings | None) -> list[Check]:
    if content is None:
        return []
    gemini = f"{str(content.gemini_base_url).rstrip('/')}/v1beta/models/{content.gemini_model}"

    async def ask_gemini() -> Sequence[Finding]:
        what, setting = "Gemini key (content)", "CONTENT_GEMINI_API_KEY or CONTENT_GEMINI_API_KEY_FILE"
        try:
            headers = {"x-goog-api-key": content.gemini_key}
        except (OSError, UnicodeDecodeError) as error:
            return [_unreadable(what, error, setting)]
        return await _shown(Provider(what, gemini, headers, setting, _model))

    async def ask_openai() -> Sequence[Finding]:
        what, setting = "OpenAI-compatible server (content)", "CONTENT_OPENAI_API_KEY or its _FILE"
        try:
            headers = {"authorization": f"Bearer {content.openai_key}"} if content.openai_key else {}
        except (OSError, UnicodeDecodeError) as error:
            return [_unreadable(what, error, setting)]
        url = f"{str(content.openai_base_url).rstrip('/')}/models"
        return await _shown(Provider(what, url, headers, setting, _model))

    has_gemini = content.gemini_api_key_file or content.gemini_api_key.get_secret_value()
    wanted = {"gemini": (ask_gemini, has_gemini), "openai": (ask_openai, content.openai_base_url)}
    return [wanted[name][0] for name in content.models if name in wanted and wanted[name][1]]


def _unreadable(what: str, error: Exception, setting: str) -> Finding:
    return failed(what, f"its file cannot be read ({type(error).__name__})", f"correct {setting}")


def _model(_: Mapping[str, Any]) -> str:
    return "it is good"


async def _shown(provider: Provider) -> Sequence[Finding]:
    asked = datetime.now(UTC)
    try:
        async with httpx.AsyncClient(timeout=_SECONDS) as http:
            answer = await http.get(provider.url, headers=dict(provider.headers))
    except httpx.HTTPError as error:
        fix = "let this machine reach it (DNS, proxy, network policy), or look at the provider's status page"
        return [failed(provider.what, f"the provider cannot be reached ({type(error).__name__})", fix)]
    took = datetime.now(UTC) - asked
    found = [_judged(provider, answer)]
    if date := answer.headers.get("date"):
        theirs = parsedate_to_datetime(date).astimezone(UTC)
        of = provider.what.partition(" ")[0]
        found.append(judged(f"clock ({of})", asked + took / 2, theirs, timedelta(seconds=1)))
    return found


def _judged(provider: Provider, answer: httpx.Response) -> Finding:
    if answer.is_success:
        try:
            return ok(provider.what, provider.told(answer.json()))
        except (ValueError, KeyError, TypeError):
            said = "it is taken, but the answer cannot be read"
            return warning(provider.what, said, "see whether the base URL is the provider's")
    status = answer.status_code
    # Gemini answers 400 to a key that it does not know.
    if status in {401, 403} or (status == 400 and "API key" in answer.text):
        fix = f"put a valid key where {provider.setting} says; the key must be allowed to read the account"
        return failed(provider.what, f"the provider refuses it ({status})", fix)
    if status == 404:
        return failed(
            provider.what, "the provider knows no such address or model", "correct base URL and model"
        )
    return warning(provider.what, f"the provider answers {status} just now", "ask again in a minute")
