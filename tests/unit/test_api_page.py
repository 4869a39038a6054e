"""docs/api.md says what the contracts say, about every call."""

from dev.api_page import DOCUMENT, TITLES, document, tags
from dev.project import ROOT
from gateway.openapi import openapi


def test_the_document_is_what_the_contracts_say_today() -> None:
    hint = "run: python -m dev.api_page > docs/api.md"
    assert DOCUMENT.read_text(encoding="utf-8") == document(), hint


def test_every_call_has_its_entry() -> None:
    assert tags() <= TITLES.keys()
    paths = openapi(ROOT / "gen/edge.pb")["paths"]
    page = document()
    for path, verbs in paths.items():
        for verb in verbs:
            assert f"### {verb.upper()} {path}\n" in page
