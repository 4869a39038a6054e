"""What can be checked of the documents without running them: links, languages, commands that exist."""

import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.tutorials import LANGUAGES, NAMES, blocks, commands

ROOT = Path(__file__).parents[2]
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_FENCED = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)


def documents() -> Iterator[Path]:
    """Those that are committed, or about to be."""
    told = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    yield from (ROOT / line for line in told.stdout.splitlines())


@cache
def anchors(document: Path) -> frozenset[str]:
    """Of the headings, as they are made from them: small letters, words joined by hyphens."""
    found = set()
    for heading in re.findall(
        r"^#+ (.+)$", _FENCED.sub("", document.read_text(encoding="utf-8")), re.MULTILINE
    ):
        plain = re.sub(r"[^\w\- ]", "", heading.strip().lower().replace("`", ""))
        found.add(plain.replace(" ", "-"))
    return frozenset(found)


def test_every_link_between_documents_leads_somewhere() -> None:
    lost, seen = [], 0
    for document in documents():
        for link in _LINK.findall(_FENCED.sub("", document.read_text(encoding="utf-8"))):
            if re.match(r"[a-z]+:", link):
                continue
            seen += 1
            path, _, anchor = unquote(link).partition("#")
            target = (document.parent / path).resolve() if path else document
            if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
                lost.append(f"{document.relative_to(ROOT)}: {link}")
    assert seen > 30
    assert lost == []


@pytest.mark.parametrize("service", ["kernel", "perform", "voice"])
def test_the_map_of_a_service_names_each_of_its_files_and_nothing_else(service: str) -> None:
    folder = ROOT / "services" / service
    rows = [line for line in (folder / "README.md").read_text(encoding="utf-8").splitlines() if "`" in line]
    first = [line.split("|")[1] for line in rows if line.startswith("| `")]
    named = {name for cell in first for name in re.findall(r"`(\w+(?:\.py|/))`", cell)}
    modules = {path.name for path in folder.glob("*.py")} - {"__init__.py"}
    folders = {f"{path.parent.name}/" for path in folder.glob("*/__init__.py")}
    assert named == modules | folders


@pytest.mark.parametrize("name", NAMES)
def test_both_languages_have_the_same_commands_and_answers(name: str) -> None:
    english, spanish = (blocks(language, name) for language in LANGUAGES)
    assert english == spanish
    assert len(commands("en", name)) >= 5


def test_every_tutorial_is_there_in_every_language() -> None:
    for language in LANGUAGES:
        folder = ROOT / "docs/tutorials" / language
        assert {path.stem for path in folder.iterdir()} == set(NAMES)


def test_tutorials_name_only_commands_that_the_script_has() -> None:
    usage = subprocess.run([ROOT / "newvisions", "help"], capture_output=True, text=True, check=True).stdout
    known = set(re.findall(r"(?m)^  (\w+) ", usage))
    used = {
        word
        for name in NAMES
        for block in commands("en", name)
        for word in re.findall(r"\./newvisions (\w+)", block)
    }
    assert {"up", "admin", "doctor", "backup", "restore"} <= used <= known
