"""The routes of ElevenLabs: voices, subscription, speech."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Final
from uuid import uuid4

from starlette.datastructures import FormData, UploadFile
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from dev.simulator.account import Refused, Voice
from dev.simulator.answering import Operation, elevenlabs_words
from dev.simulator.plans import MODELS
from dev.simulator.sound import DEFAULT_FORMAT, FORMATS, content_type, spoken
from dev.simulator.world import World

_CHUNK: Final = 4096
# Between two chunks, at full latency: several times faster than anybody listens.
_CHUNK_SECONDS: Final = 0.01
_MOST_ON_A_PAGE: Final = 100


async def add_voice(world: World, request: Request) -> Response:
    _authorised(world, request)
    async with request.form() as form:
        files = await _files(form)
        if not form.get("name") or not files:
            return _missing("name" if files else "files")
        voice = world.account.add(_text(form, "name"), _text(form, "description"), _labels(form), files)
    return JSONResponse({"voice_id": voice.voice_id, "requires_verification": False})


async def edit_voice(world: World, request: Request) -> Response:
    _authorised(world, request)
    async with request.form() as form:
        if not form.get("name"):
            return _missing("name")
        changes: dict[str, Any] = {"name": _text(form, "name")}
        if "description" in form:
            changes["description"] = _text(form, "description")
        if _text(form, "labels") not in ("", "null"):
            changes["labels"] = _labels(form)
        if files := await _files(form):
            changes["files"] = files
        world.account.edit(request.path_params["voice_id"], changes)
    return JSONResponse({"status": "ok"})


async def delete_voice(world: World, request: Request) -> Response:
    _authorised(world, request)
    world.account.delete(request.path_params["voice_id"])
    return JSONResponse({"status": "ok"})


async def get_voice(world: World, request: Request) -> Response:
    _authorised(world, request)
    voice_id = request.path_params["voice_id"]
    if voice_id not in world.account.voices:
        raise Refused(400, "voice_not_found", f"A voice for the voice_id {voice_id} was not found.")
    return JSONResponse(_described(world.account.voices[voice_id]))


async def list_all_voices(world: World, request: Request) -> Response:
    _authorised(world, request)
    return JSONResponse({"voices": [_described(voice) for voice in world.account.voices.values()]})


async def search_voices(world: World, request: Request) -> Response:
    """Newest last. A page begins after the voice that the token names, also when that is gone by now."""
    _authorised(world, request)
    asked = request.query_params
    found = _matching(list(world.account.voices.values()), asked.get("category"), asked.get("search", ""))
    after, _, voice_id = asked.get("next_page_token", "").partition(":")
    if after:
        found = [voice for voice in found if (voice.added_at, voice.voice_id) > (float(after), voice_id)]
    size = min(max(int(asked.get("page_size", 10)), 1), _MOST_ON_A_PAGE)
    page, more = found[:size], len(found) > size
    token = f"{page[-1].added_at!r}:{page[-1].voice_id}" if more else None
    described = [_described(voice) for voice in page]
    return JSONResponse(
        {"voices": described, "has_more": more, "total_count": len(found), "next_page_token": token}
    )


async def subscription(world: World, request: Request) -> Response:
    _authorised(world, request)
    account, plan = world.account, world.options.plan
    return JSONResponse(
        {
            "tier": plan.tier,
            "character_count": account.characters_used,
            "character_limit": plan.characters,
            "max_credit_limit_extension": 0,
            "can_extend_character_limit": False,
            "allowed_to_extend_character_limit": False,
            "next_character_count_reset_unix": int(account.cycle_ends),
            "voice_slots_used": len(account.cloned),
            "voice_limit": plan.slots,
            "max_voice_add_edits": plan.adds,
            "voice_add_edit_counter": account.adds_used,
            "professional_voice_limit": 0,
            "professional_voice_slots_used": 0,
            "professional_voice_slots_used_in_workspace": 0,
            "can_extend_voice_limit": False,
            "can_use_instant_voice_cloning": True,
            "can_use_professional_voice_cloning": False,
            "currency": "usd",
            "current_overage": {"amount": "0", "currency": "usd"},
            "status": "active",
            "billing_period": "monthly_period",
            "character_refresh_period": "monthly_period",
            "open_invoices": [],
            "has_open_invoices": False,
        }
    )


async def models(world: World, request: Request) -> Response:
    _authorised(world, request)
    return JSONResponse(
        [
            {
                "model_id": model_id,
                "name": model_id,
                "can_do_text_to_speech": True,
                "maximum_text_length_per_request": model.characters,
                "model_rates": {"character_cost_multiplier": model.cost_factor},
            }
            for model_id, model in MODELS.items()
        ]
    )


@dataclass(frozen=True, slots=True)
class _Wish:
    voice_id: str
    text: str
    model_id: str
    speed: float
    output_format: str


async def speak(world: World, request: Request) -> Response:
    _authorised(world, request)
    wish = _wish(request, json.loads(await request.body()))
    account, running = world.account, ExitStack()
    voice, cost = running.enter_context(account.speak(wish.voice_id, wish.model_id, wish.text))
    try:
        audio = await asyncio.to_thread(
            spoken, len(wish.text), wish.speed, voice.marker_hz, wish.output_format
        )
        await world.wait(f"speech of {wish.model_id}", MODELS[wish.model_id].first_audio_seconds)
        headers = {
            "request-id": uuid4().hex,
            "character-cost": str(cost),
            "current-concurrent-requests": str(account.speaking[MODELS[wish.model_id].fast]),
            "maximum-concurrent-requests": str(account.concurrency(wish.model_id)),
        }
    except BaseException:
        running.close()
        raise
    return _Speech(
        running, _chunks(world, audio), headers=headers, media_type=content_type(wish.output_format)
    )


class _Speech(StreamingResponse):
    """Counts as running until it is sent, or until nobody listens any more."""

    def __init__(self, running: ExitStack, *content: Any, **more: Any) -> None:
        super().__init__(*content, **more)
        self._running = running

    async def __call__(self, *connection: Any) -> None:
        with self._running:
            await super().__call__(*connection)


async def _chunks(world: World, audio: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(audio), _CHUNK):
        if start and world.options.latency:
            await asyncio.sleep(_CHUNK_SECONDS * world.options.latency)
        yield audio[start : start + _CHUNK]


def _wish(request: Request, body: dict[str, Any]) -> _Wish:
    output_format = request.query_params.get("output_format", DEFAULT_FORMAT)
    if not FORMATS.fullmatch(output_format):
        raise Refused(400, "invalid_output_format", f"There is no output format {output_format!r}.")
    settings = body.get("voice_settings") or {}
    for name, (low, high) in _SETTINGS.items():
        if (value := settings.get(name)) is not None and not low <= value <= high:
            raise Refused(400, "invalid_voice_settings", f"{name} must be between {low} and {high}.")
    if not body.get("text"):
        raise Refused(400, "input_text_empty", "The text is empty.")
    speed = float(settings.get("speed") or 1.0)
    model_id = body.get("model_id") or "eleven_multilingual_v2"
    return _Wish(request.path_params["voice_id"], body["text"], model_id, speed, output_format)


_SETTINGS: Final = {
    "stability": (0.0, 1.0),
    "similarity_boost": (0.0, 1.0),
    "style": (0.0, 1.0),
    "speed": (0.7, 1.2),
}


def _authorised(world: World, request: Request) -> None:
    key = request.headers.get("xi-api-key", "")
    if not key or (world.options.key and key != world.options.key):
        raise Refused(401, "invalid_api_key", "Invalid API key.")


async def _files(form: FormData) -> tuple[str, ...]:
    uploads = [upload for upload in form.getlist("files") if isinstance(upload, UploadFile)]
    return tuple([hashlib.sha256(await upload.read()).hexdigest() for upload in uploads])


def _text(form: FormData, name: str) -> str:
    value = form.get(name, "")
    return value if isinstance(value, str) else ""


def _labels(form: FormData) -> dict[str, str]:
    try:
        labels = json.loads(_text(form, "labels") or "null") or {}
    except ValueError:
        raise Refused(400, "invalid_labels", "Labels must be a JSON object.") from None
    if not isinstance(labels, dict) or not all(isinstance(value, str) for value in labels.values()):
        raise Refused(400, "invalid_labels", "Labels must be a JSON object of strings.")
    return labels


def _missing(field: str) -> Response:
    return JSONResponse(
        {"detail": [{"loc": ["body", field], "msg": "Field required", "type": "missing"}]}, 422
    )


def _matching(voices: Sequence[Voice], category: str | None, search: str) -> list[Voice]:
    found = [
        voice
        for voice in voices
        if category in (None, voice.category)
        and search.lower() in " ".join([voice.name, voice.description, *voice.labels.values()]).lower()
    ]
    return sorted(found, key=lambda voice: (voice.added_at, voice.voice_id))


def _described(voice: Voice) -> dict[str, Any]:
    return {
        "voice_id": voice.voice_id,
        "name": voice.name,
        "category": voice.category,
        "description": voice.description,
        "labels": dict(voice.labels),
        "samples": None,
        "settings": None,
        "is_owner": voice.category == "cloned",
        "is_legacy": False,
        "is_mixed": False,
        "created_at_unix": int(voice.added_at) or None,
    }


def _operation(name: str, effect: Any, median_seconds: float) -> Operation:
    return Operation(name, effect, elevenlabs_words, median_seconds)


OPERATIONS: Final[Sequence[tuple[str, str, Operation]]] = (
    ("POST", "/v1/voices/add", _operation("add", add_voice, 3.0)),
    ("POST", "/v1/voices/{voice_id}/edit", _operation("edit", edit_voice, 0.4)),
    ("DELETE", "/v1/voices/{voice_id}", _operation("delete", delete_voice, 0.3)),
    ("GET", "/v1/voices/{voice_id}", _operation("get", get_voice, 0.15)),
    ("GET", "/v1/voices", _operation("list", list_all_voices, 0.25)),
    ("GET", "/v2/voices", _operation("list", search_voices, 0.25)),
    ("GET", "/v1/user/subscription", _operation("subscription", subscription, 0.15)),
    ("GET", "/v1/models", _operation("models", models, 0.15)),
    # The wait for first audio depends on the model and comes later.
    ("POST", "/v1/text-to-speech/{voice_id}/stream", _operation("speak", speak, 0.0)),
    ("POST", "/v1/text-to-speech/{voice_id}", _operation("speak", speak, 0.0)),
)
