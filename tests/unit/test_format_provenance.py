"""Whoever opens the file learns that a machine spoke, and which recording it is."""

import io

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.synthesis import formats
from services.synthesis.domain import Format, Labels, Medium
from tests.unit.mix_hearing import LABELS, PHRASE, heard, made

QUIET = np.zeros(24_000, np.float32)
SPEAKING = [name for name in Format if name is not Format.PCM]


@pytest.mark.parametrize("name", SPEAKING)
def test_the_audio_says_that_a_machine_spoke_and_which_recording_it_is(name):
    _, tags = heard(made(PHRASE, medium=Medium.wanted(name, 0))[0])
    assert tags["title"] == LABELS.title
    assert tags["comment"].startswith("AI-generated")
    assert "rec-7" in tags["comment"]
    if name is not Format.WAV:
        assert tags["AI_GENERATED"] == "true"
        assert tags["RECORDING_ID"] == "rec-7"


@pytest.mark.parametrize("name", SPEAKING)
def test_it_says_so_before_the_first_frame(name):
    opening = formats.encoder(Medium.wanted(name, 0), LABELS).opening
    assert "AI-generated" in opening.replace(b"\0", b"").decode("utf-8", "ignore")


def test_bare_samples_say_nothing():
    assert formats.encoder(Medium.wanted("pcm", 0), LABELS).opening == b""


@pytest.mark.parametrize("name", SPEAKING)
@given(title=st.text(max_size=100))
@settings(max_examples=20, deadline=None)
def test_no_title_breaks_the_tag(name, title):
    encoder = formats.encoder(Medium.wanted(name, 0), Labels(title, "r"))
    frames = encoder.encode(QUIET) + encoder.finish()
    with av.open(io.BytesIO(encoder.opening + b"".join(frames))) as opened:
        tags = {**opened.metadata, **opened.streams.audio[0].metadata}
        assert "AI-generated" in tags["comment"]
        assert next(opened.decode(audio=0)).samples


def test_a_recorded_reader_is_not_called_a_machine():
    encoder = formats.encoder(Medium(), Labels("Preview", spoken_by_machine=False))
    assert b"A\0I\0" not in encoder.opening
