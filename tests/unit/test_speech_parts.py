"""Texts that are longer than a speech provider's model takes at once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.synthesis.engines.elevenlabs.parts import parts


@given(st.text(st.sampled_from("ab .!?…\n”。")), st.integers(1, 20))
def test_nothing_is_lost_and_no_part_is_too_long(text: str, most: int) -> None:
    cut = parts(text, most)
    assert "".join(cut) == text
    assert all(len(part) <= most for part in cut)
    assert all(cut[:-1])


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("One. Two.", ["One. Two."]),
        ("One is. Two is. Three.", ["One is. ", "Two is. ", "Three."]),
        ("“One?” Two three", ["“One?” ", "Two three"]),
        ("One two three four", ["One two ", "three four"]),
        ("One1.5and more", ["One1.5and ", "more"]),
        ("一。二三四五六七八九十。", ["一。", "二三四五六七八九十。"]),
        ("Unbreakable.", ["Unbreakabl", "e."]),
    ],
)
def test_a_long_text_is_cut_where_a_speaker_would_breathe(text: str, cut: list[str]) -> None:
    assert parts(text, 10) == cut
