"""What a backup holds: one JSON file, written last, with the digest of every other file."""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Self

FORMAT: Final = 1
NAME: Final = "manifest.json"


class NoBackup(Exception):
    """The folder holds no whole backup that this release can read."""


@dataclass(frozen=True, slots=True)
class Collection:
    service: str
    name: str
    documents: int
    # As MongoDB's extended JSON: made before the documents come, because later it would take long.
    indexes: str

    @property
    def file(self) -> str:
        return f"database/{self.service}/{self.name}.bson"


@dataclass(slots=True)
class Manifest:
    format: int
    made_at: str
    # Of the product, the database, and what reads and writes them.
    versions: dict[str, str]
    collections: list[Collection] = field(default_factory=list)
    # How many blobs each service has; they lie below blobs/SERVICE/ under the names of the blob store.
    blobs: dict[str, int] = field(default_factory=dict)
    # What restored data needs to be opened: digests of the lines of each service's key file.
    keys: dict[str, list[str]] = field(default_factory=dict)
    # SHA-256 of each file, by its name in the folder.
    files: dict[str, str] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        new = folder / f"{NAME}.new"
        new.write_text(json.dumps(asdict(self), indent=1, sort_keys=True))
        new.replace(folder / NAME)

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Raises NoBackup."""
        try:
            found: dict[str, Any] = json.loads((folder / NAME).read_text())
        except (OSError, ValueError) as error:
            raise NoBackup(f"{folder} holds no whole backup: {NAME} cannot be read") from error
        if found.get("format") != FORMAT:
            raise NoBackup(f"{folder} was made by another release (format {found.get('format')})")
        collections = [Collection(**each) for each in found.pop("collections")]
        return cls(**found, collections=collections)


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def digest_of(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def key_digests(file: Path) -> list[str]:
    """Tells whether a key is the same, and nothing else about it: keys are drawn from 2^256."""
    return [digest(b"newvisions backup key " + line) for line in file.read_bytes().split()]
