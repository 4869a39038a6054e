import base64
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.voice.refusals import (
    AudioBase64Invalid,
    SampleFileMissing,
    SampleMediaUnknown,
    SampleRefused,
    SampleTooLarge,
)
from services.voice.uploads import from_body, from_json
from tests.samples import multipart


@given(recording=st.binary(min_size=1, max_size=300), width=st.integers(1, 100), padded=st.booleans())
def test_base64_is_undone_however_it_is_wrapped_and_padded(
    recording: bytes, width: int, padded: bool
) -> None:
    text = base64.b64encode(recording).decode()
    text = text if padded else text.rstrip("=")
    wrapped = "\r\n".join(text[start : start + width] for start in range(0, len(text), width))
    assert from_json(f" {wrapped}\n", "audio/mpeg", 3.5).recording == recording


@pytest.mark.parametrize(
    ("prefix", "mime"),
    [
        ("data:audio/webm;codecs=opus;base64,", "audio/webm;codecs=opus"),
        ("data:audio/mpeg;base64,", "audio/mpeg"),
        ("DATA:Audio/MP4;BASE64,", "Audio/MP4"),
        ("data:;base64,", ""),
    ],
)
def test_a_data_url_says_what_it_believes_to_be(prefix: str, mime: str) -> None:
    upload = from_json(prefix + "YWJj", "ignored/type", 0)
    assert (upload.recording, upload.claimed_mime) == (b"abc", mime)


@pytest.mark.parametrize(
    "text",
    [
        "abc!",
        "a",
        "YWJj=YWJj",
        "data:audio/mpeg,YWJj",
        "data:audio/mpeg;base64",
        "data:",
        "-_-_",
        "päck",
        "%41",
    ],
)
def test_what_is_not_base64_is_refused(text: str) -> None:
    with pytest.raises(AudioBase64Invalid):
        from_json(text, "", 0)


@given(
    recording=st.binary(max_size=400), extra=st.binary(max_size=40).filter(lambda b: b"newvisions" not in b)
)
def test_the_first_file_of_a_form_is_found_among_other_fields(recording: bytes, extra: bytes) -> None:
    if b"----newvisions" in recording:
        return
    body, content_type = multipart(recording)
    boundary = content_type.partition("boundary=")[2].encode()
    field = b"--" + boundary + b'\r\nContent-Disposition: form-data; name="note"\r\n\r\n' + extra + b"\r\n"
    second, _ = multipart(b"second file")
    whole = field + body.removesuffix(b"--" + boundary + b"--\r\n") + second
    assert from_body(content_type, whole).recording == recording


def test_a_files_own_type_and_an_encoded_name_are_understood() -> None:
    body, content_type = multipart(b"sound", content_type="audio/webm;codecs=opus")
    encoded = body.replace(b'filename="voice.mp3"', b"filename*=UTF-8''stimme%C3%A4.mp3")
    assert from_body(content_type, encoded).claimed_mime == "audio/webm;codecs=opus"
    assert from_body(content_type, encoded).recording == b"sound"


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data", b"x"),
        ("multipart/form-data; boundary=b", b"garbage"),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\nx\r\n--b--',
        ),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="a"; filename="f"\r\n\r\ncut off her',
        ),
        ("multipart/form-data; boundary=" + "b" * 300, b"x"),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\nx\r\n' * 30 + b"--b--",
        ),
    ],
)
def test_a_form_without_a_whole_file_is_refused(content_type: str, body: bytes) -> None:
    with pytest.raises(SampleFileMissing):
        from_body(content_type, body)


@pytest.mark.parametrize(
    "content_type", ["audio/mpeg", "AUDIO/webm;codecs=opus", "application/octet-stream", "video/mp4", ""]
)
def test_a_raw_body_is_taken_as_it_is(content_type: str) -> None:
    assert from_body(content_type, b"\0sound").recording == b"\0sound"


@pytest.mark.parametrize("content_type", ["text/plain", "application/json", "image/png", "video/x-msvideo"])
def test_a_body_that_says_it_is_something_else_is_refused(content_type: str) -> None:
    with pytest.raises(SampleMediaUnknown):
        from_body(content_type, b"x")


def test_three_mebibytes_are_the_most_in_every_form() -> None:
    most, more = bytes(3 << 20), bytes((3 << 20) + 1)
    assert len(from_body("audio/wav", most).recording) == 3 << 20
    assert len(from_json(base64.b64encode(most).decode(), "", 0).recording) == 3 << 20
    with pytest.raises(SampleTooLarge):
        from_body("audio/wav", more)
    with pytest.raises(SampleTooLarge):
        from_json(base64.b64encode(more).decode(), "", 0)
    body, content_type = multipart(more)
    with pytest.raises(SampleTooLarge):
        from_body(content_type, body)


@given(
    text=st.one_of(st.text(max_size=200), st.text("data:;,base64AZ+/=_-\r\n \0é", max_size=200)),
    mime=st.text(max_size=20),
)
def test_any_text_is_a_recording_or_refused(text: str, mime: str) -> None:
    with suppress(SampleRefused):
        assert len(from_json(text, mime, 0).recording) <= len(text)


@given(
    content_type=st.one_of(
        st.text(max_size=80),
        st.text("multipart/form-data; boundary=\"b'*%\r\n\0é", max_size=80).map(
            lambda rest: f"multipart/form-data; boundary={rest}"
        ),
    ),
    body=st.binary(max_size=300),
)
def test_any_body_of_any_type_is_a_recording_or_refused(content_type: str, body: bytes) -> None:
    with suppress(SampleRefused):
        assert len(from_body(content_type, body).recording) <= len(body)


@given(data=st.data(), recording=st.binary(max_size=60))
def test_a_damaged_form_gives_no_more_than_it_held(data: st.DataObject, recording: bytes) -> None:
    body, content_type = multipart(recording)
    place = data.draw(st.integers(0, len(body)))
    cut = data.draw(st.integers(0, 12))
    put = data.draw(
        st.one_of(st.binary(max_size=12), st.sampled_from([b"\r\n", b"--", b'"', b":", b";", b"\0"]))
    )
    damaged = body[:place] + put + body[place + cut :]
    with suppress(SampleRefused):
        assert len(from_body(content_type, damaged).recording) <= len(damaged)
