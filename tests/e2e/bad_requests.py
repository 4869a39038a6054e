"""The table of bad requests: what is sent, and the code that must come back."""

import base64
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from dev.performer import PASSWORD
from tests import samples

Content = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """A request, and how it must be refused. Values that are functions are called when it is sent."""

    what: str
    method: str
    path: str
    status: int
    error: str
    body: Content | Callable[[], Content] = field(default_factory=dict)
    says: str = ""


def sends(body: object) -> Content:
    return {"json": body}


def text(body: str, content_type: str = "application/json") -> Content:
    return {"content": body.encode(), "headers": {"content-type": content_type}}


def file(sample: Callable[[], bytes], content_type: str = "audio/mpeg") -> Content:
    return {"content": sample(), "headers": {"content-type": content_type}}


def base64_of(sample: Callable[[], bytes]) -> Content:
    return sends({"audio_base64": base64.b64encode(sample()).decode()})


def form(sample: Callable[[], bytes], name: str = "file") -> Content:
    return {"files": {name: ("voice.mp3", sample(), "audio/mpeg")}}


REGISTRATION = {
    "username": "someone-new",
    "email": "someone-new@example.com",
    "password": PASSWORD,
    "activationCode": "AAAAAAAAAAA",
}
SETTINGS = "/v1/users/me/settings"
VOICE = "/v1/users/me/voice"
UPLOAD = "/v1/users/me/voice:upload"
PERFORM = {"routine_type": "cards", "value": "Seven of Hearts"}
RECORDING = "/v1/recordings/6f1d6a53-9ab1-4f43-8a0f-0d1f4f7a6a11"
INVALID = (400, "INVALID_REQUEST")
NOT_FOUND = (404, "USER_NOT_FOUND")


def accounts() -> Iterator[Case]:
    register = partial(Case, method="POST", path="/v1/auth/register")
    wrong: list[tuple[str, Content]] = [
        ("no username", {"username": ""}),
        ("a username of 2 characters", {"username": "ab"}),
        ("a username of 33 characters", {"username": "a" * 33}),
        ("a username with a space", {"username": "some one"}),
        ("no email", {"email": ""}),
        ("an email without an at sign", {"email": "someone.example.com"}),
        ("a password of 129 characters", {"password": "p" * 129}),
        ("a code of 10 characters", {"activationCode": "AAAAAAAAAA"}),
        ("a code with a dash", {"activationCode": "AAAAA-AAAAA"}),
    ]
    for what, change in wrong:
        yield register(
            f"register with {what}", status=400, error="INVALID_REQUEST", body=sends(REGISTRATION | change)
        )
    yield register(
        "register with a number for a name",
        status=400,
        error="INVALID_REQUEST",
        body=sends(REGISTRATION | {"username": {"a": 1}}),
    )
    yield register(
        "register with broken JSON", status=400, error="INVALID_REQUEST", body=text('{"username": "someone')
    )
    yield register("register with an empty body", status=400, error="INVALID_REQUEST", body=text(""))
    yield register(
        "register with a password of 7 characters",
        status=400,
        error="PASSWORD_TOO_WEAK",
        body=sends(REGISTRATION | {"password": "1234567"}),
    )
    yield register(
        "register with an unknown code", status=400, error="ACTIVATION_CODE_INVALID", body=sends(REGISTRATION)
    )
    yield register(
        "register with 70 KiB",
        status=413,
        error="TOO_LARGE",
        body=sends(REGISTRATION | {"username": "a" * 70_000}),
    )
    login = partial(Case, method="POST", path="/v1/auth/login")
    yield login(
        "log in without a password", status=400, error="INVALID_REQUEST", body=sends({"username": "someone"})
    )
    yield login(
        "log in as nobody",
        status=401,
        error="CREDENTIALS_INVALID",
        body=sends({"username": "nobody-at-all", "password": PASSWORD}),
    )
    yield Case("refresh without a token", "POST", "/v1/auth/refresh", *INVALID, sends({}))
    yield Case(
        "refresh with a made-up token",
        "POST",
        "/v1/auth/refresh",
        401,
        "REFRESH_TOKEN_INVALID",
        sends({"refresh_token": "made-up"}),
    )
    yield Case("verify no code", "POST", "/v1/auth/verify-activation-code", *INVALID, sends({}))
    yield Case(
        "make codes as a user",
        "POST",
        "/v1/admin/activation-codes",
        403,
        "ADMIN_REQUIRED",
        sends({"count": 1}),
    )


def settings() -> Iterator[Case]:
    wrong: list[tuple[str, Content]] = [
        ("a language of one letter", {"voice_language": "e"}),
        ("an unknown sex", {"speaker_sex": "loud"}),
        ("a stability of 101", {"voice_stability": 101}),
        ("a similarity of -1", {"voice_similarity": -1}),
        ("a stability that is a word", {"voice_stability": "much"}),
        ("a half stability", {"voice_stability": 0.5}),
        ("a volume of 101", {"background_volume": 101}),
        ("a fan that is a word", {"background_sound": "loud"}),
        ("a name of 51 characters", {"voice_note_name": "n" * 51}),
        ("a date with a word", {"voice_note_date": "yesterday"}),
        ("a 13th month", {"voice_note_date": "2024-13-01"}),
        ("the 30th of February", {"voice_note_date": "2024-02-30"}),
    ]
    for method in ("PUT", "PATCH"):
        for what, change in wrong:
            yield Case(f"{method} settings with {what}", method, SETTINGS, *INVALID, sends(change))
    yield Case("settings with broken JSON", "PUT", SETTINGS, *INVALID, text("{"))
    yield Case("settings that are a list", "PUT", SETTINGS, *INVALID, sends([1]))
    for path in (
        "/v1/users/somebody-else",
        "/v1/users/somebody-else/meta",
        "/v1/users/somebody-else/settings",
    ):
        yield Case(f"read {path}", "GET", path, *NOT_FOUND)
    yield Case("another's settings", "PUT", "/v1/users/somebody-else/settings", *NOT_FOUND, sends({}))


def voices() -> Iterator[Case]:
    refused: list[tuple[str, Callable[[], bytes], int, str]] = [
        ("a text named mp3", samples.text_named_mp3, 415, "SAMPLE_MEDIA_UNKNOWN"),
        ("a truncated webm", samples.truncated_webm, 400, "SAMPLE_UNREADABLE"),
        ("silence", samples.silence, 400, "SAMPLE_SILENT"),
        ("music without speech", samples.music, 400, "SAMPLE_NOT_SPEECH"),
        ("5 seconds", samples.short_speech, 400, "SAMPLE_TOO_SHORT"),
        ("90 seconds", samples.long_speech, 400, "SAMPLE_TOO_LONG"),
    ]
    for what, sample, status, error in refused:
        yield Case(f"{what} as JSON", "POST", VOICE, status, error, partial(base64_of, sample))
        yield Case(f"{what} as raw body", "POST", UPLOAD, status, error, partial(file, sample))
        yield Case(f"{what} as form", "POST", UPLOAD, status, error, partial(form, sample))
    large = samples.four_mebibytes
    yield Case("4 MiB as JSON", "POST", VOICE, 413, "SAMPLE_TOO_LARGE", partial(base64_of, large))
    yield Case("4 MiB as raw body", "POST", UPLOAD, 413, "TOO_LARGE", partial(file, large))
    yield Case("4 MiB as form", "POST", UPLOAD, 413, "TOO_LARGE", partial(form, large))
    yield Case("no audio", "POST", VOICE, *INVALID, sends({}))
    yield Case("empty audio", "POST", VOICE, *INVALID, sends({"audio_base64": ""}))
    yield Case("broken base64", "POST", VOICE, 400, "AUDIO_BASE64_INVALID", sends({"audio_base64": "!!!"}))
    yield Case(
        "a broken data URL",
        "POST",
        VOICE,
        400,
        "AUDIO_BASE64_INVALID",
        sends({"audio_base64": "data:audio/mpeg,xyz"}),
    )
    yield Case("audio that is a list", "POST", VOICE, *INVALID, sends({"audio_base64": ["a"]}))
    yield Case(
        "a negative duration",
        "POST",
        VOICE,
        *INVALID,
        lambda: sends({"audio_base64": "AAAA", "duration_seconds": -1}),
    )
    yield Case("an upload of broken JSON", "POST", VOICE, *INVALID, text('{"audio_base64": '))
    yield Case("an empty file", "POST", UPLOAD, 400, "SAMPLE_UNREADABLE", file(bytes))
    yield Case("an empty file in a form", "POST", UPLOAD, 400, "SAMPLE_UNREADABLE", partial(form, bytes))
    yield Case(
        "a form without a file",
        "POST",
        UPLOAD,
        400,
        "SAMPLE_FILE_MISSING",
        {"files": {"note": (None, "hello")}},
    )
    yield Case(
        "a form without a boundary",
        "POST",
        UPLOAD,
        400,
        "SAMPLE_FILE_MISSING",
        text("--x", "multipart/form-data"),
    )
    yield Case("a JSON file", "POST", UPLOAD, 415, "SAMPLE_MEDIA_UNKNOWN", text("{}"))
    yield Case(
        "another's voice",
        "POST",
        "/v1/users/somebody-else/voice",
        *NOT_FOUND,
        partial(base64_of, samples.speech),
    )
    yield Case(
        "a file for another",
        "POST",
        "/v1/users/somebody-else/voice:upload",
        *NOT_FOUND,
        partial(file, samples.speech),
    )
    for end in ("meta", "source", "source.mp3"):
        yield Case(f"another's {end}", "GET", f"/v1/users/somebody-else/voice/{end}", *NOT_FOUND)
    yield Case("erase another's voice", "DELETE", "/v1/users/somebody-else/voice", *NOT_FOUND)


def performing() -> Iterator[Case]:
    wrong: list[tuple[str, object]] = [
        ("no routine", {"value": "Ace"}),
        ("an unknown routine", PERFORM | {"routine_type": "tarot"}),
        ("a routine that is a list", PERFORM | {"routine_type": ["cards"]}),
        ("no value", {"routine_type": "cards"}),
        ("an empty value", PERFORM | {"value": ""}),
        ("a value of 501 characters", PERFORM | {"value": "v" * 501}),
        ("a value that is an object", PERFORM | {"value": {"a": 1}}),
        ("an override that is a word", PERFORM | {"settings_override": "loud"}),
        ("an override of 101 percent", PERFORM | {"settings_override": {"background_volume": 101}}),
        (
            "an overriding date that never was",
            PERFORM | {"settings_override": {"voice_note_date": "2023-02-29"}},
        ),
        ("a list", [PERFORM]),
    ]
    for path in ("/v1/perform", "/v1/perform:stream", "/api/perform"):
        for what, body in wrong:
            yield Case(f"{path} with {what}", "POST", path, *INVALID, sends(body))
        yield Case(f"{path} with broken JSON", "POST", path, *INVALID, text('{"value":'))
        yield Case(
            f"{path} for another", "POST", path, *NOT_FOUND, sends(PERFORM | {"user_id": "somebody-else"})
        )
        yield Case(
            f"{path} with 70 KiB", "POST", path, 413, "TOO_LARGE", sends(PERFORM | {"value": "v" * 70_000})
        )
        yield Case(
            f"{path} in a language nobody writes",
            "POST",
            path,
            400,
            "LANGUAGE_NOT_WRITTEN",
            sends(PERFORM | {"settings_override": {"voice_language": "tlh"}}),
        )
        for what, key in (("an empty", ""), ("a long", "k" * 256)):
            keyed = {"json": PERFORM, "headers": {"idempotency-key": key}}
            yield Case(f"{path} with {what} key", "POST", path, 400, "IDEMPOTENCY_KEY_INVALID", keyed)
    too_long = sends(PERFORM | {"value": "v" * 201})
    yield Case("perform a value of 201 characters", "POST", "/v1/perform", 400, "VALUE_TOO_LONG", too_long)
    yield Case("stream a value of 201 characters", "POST", "/v1/perform:stream", *INVALID, too_long)
    yield Case(
        "a thought without a topic", "POST", "/v1/generate-thought", *INVALID, sends({"value": "Lisbon"})
    )
    yield Case(
        "a thought about too much",
        "POST",
        "/v1/generate-thought",
        *INVALID,
        sends({"topic": "t" * 101, "value": "x"}),
    )


def recordings() -> Iterator[Case]:
    missing = (404, "RECORDING_NOT_FOUND")
    yield Case("a page of 101", "GET", "/v1/recordings?page_size=101", *INVALID)
    yield Case("a page of -1", "GET", "/v1/recordings?page_size=-1", *INVALID)
    yield Case("a page of many", "GET", "/v1/recordings?page_size=many", *INVALID)
    yield Case("a made-up page token", "GET", "/v1/recordings?page_token=next", 400, "INVALID_PAGE_TOKEN")
    yield Case("an unknown parameter", "GET", "/v1/recordings?colour=red", *INVALID)
    yield Case("an unknown recording", "GET", RECORDING, *missing)
    yield Case("a recording whose id is none", "GET", "/v1/recordings/none", *missing)
    yield Case("an id of 65 characters", "GET", f"/v1/recordings/{'r' * 65}", *INVALID)
    yield Case("the audio of an unknown recording", "GET", f"{RECORDING}/audio", *missing)
    yield Case("an unknown file", "GET", "/api/audio/none.mp3", *missing)
    yield Case("rename an unknown recording", "PATCH", RECORDING, *missing, sends({"title": "Mine"}))
    yield Case("an empty title", "PATCH", RECORDING, *INVALID, sends({"title": ""}))
    yield Case("a title of 51 characters", "PATCH", RECORDING, *INVALID, sends({"title": "t" * 51}))
    yield Case("a date that is none", "PATCH", RECORDING, *INVALID, sends({"date": "soon"}))
    yield Case("delete an unknown recording", "DELETE", RECORDING, *missing)


def routes() -> Iterator[Case]:
    nowhere = (404, "ROUTE_NOT_FOUND")
    yield Case("an unknown route", "GET", "/v1/nothing", *nowhere)
    yield Case("a route of an unknown version", "POST", "/v9/perform", *nowhere, sends(PERFORM))
    yield Case("GET perform", "GET", "/v1/perform", *nowhere)
    yield Case("DELETE login", "DELETE", "/v1/auth/login", *nowhere)
    yield Case("PUT recordings", "PUT", "/v1/recordings", *nowhere, sends({}))
    yield Case(
        "a method of the services",
        "POST",
        "/newvisions.auth.v1.AuthService/ReserveCredits",
        *nowhere,
        sends({}),
    )


CASES = [*accounts(), *settings(), *voices(), *performing(), *recordings(), *routes()]
