"""`python -m services.voice.cli`, which `newvisions admin voice` runs: what the admin routes do, and more.

Ends with 0 when all is done, 1 when it was refused, 2 when it was asked wrongly, and 3 when something is
left that will be tried again.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final, NoReturn

from services.kernel import logs
from services.kernel.clock import clock
from services.kernel.errors import ServiceError
from services.kernel.settings import SettingsWrong, SettingUnusable, read
from services.voice.blobs import SealedBlobs, open_store, read_keys
from services.voice.clones import Clones, Pooled, PoolStatus
from services.voice.composition import Stores, clones_of, open_pooled, open_stores
from services.voice.domain import VoicePoolDisabled
from services.voice.rotation import rotate_keys
from services.voice.settings import Settings
from services.voice.slots import SlotState

LEFT: Final = 3
_COLUMNS: Final = ("voice_id", "user_id", "provider", "in_pool", "made_at", "last_used_at")
_MOST_ON_A_PAGE: Final = 100

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Built:
    settings: Settings
    stores: Stores
    clones: Clones
    pooled: Pooled | None

    def enabled(self) -> Pooled:
        if self.pooled is None:
            raise VoicePoolDisabled("voices are kept by the embedded engine only")
        return self.pooled


def main() -> None:
    logs.configure("WARNING")
    asyncio.run(run(sys.argv[1:]))


async def run(arguments: Sequence[str]) -> None:
    """One command. Raises SystemExit, with one line about what went wrong if anything did."""
    options = _parser().parse_args(arguments)
    try:
        async with AsyncExitStack() as stack:
            settings = read(Settings)
            stores = await stack.enter_async_context(open_stores(settings))
            pooled = await stack.enter_async_context(open_pooled(settings, stores))
            stack.push_async_callback(stores.works.close, settings.stop_seconds)
            left = await options.command(Built(settings, stores, clones_of(stores, pooled), pooled), options)
    except (ServiceError, SettingsWrong, SettingUnusable, ValueError) as failure:
        _refuse(str(failure))
    if left:
        raise SystemExit(LEFT)


async def show_status(built: Built, options: argparse.Namespace) -> bool:
    status = await built.enabled().view.status()
    _say_row(_status_row(status), as_json=options.json)
    return False


async def reconcile(built: Built, options: argparse.Namespace) -> bool:
    told = await built.enabled().reconciling.reconcile(dry_run=options.dry_run)
    _say_row(asdict(told), as_json=options.json)
    return told.pending > 0


async def evict(built: Built, options: argparse.Namespace) -> bool:
    built.enabled()
    removed = await built.clones.evict(options.voice_id)
    _say_row(asdict(removed), as_json=options.json)
    return not removed.confirmed


async def list_clones(built: Built, options: argparse.Namespace) -> bool:
    rows: list[Row] = []
    token, left = "", options.limit
    while left:
        found, token = await built.clones.page(token, min(left, _MOST_ON_A_PAGE))
        rows += [
            {
                "voice_id": each.clone.clone_id,
                "user_id": each.user_id,
                "provider": each.clone.provider,
                "in_pool": each.clone.in_pool,
                "made_at": each.clone.made_at,
                "last_used_at": each.last_used_at,
            }
            for each in found
        ]
        left -= len(found)
        if not token:
            break
    _say_rows("clones", _COLUMNS, rows, as_json=options.json)
    return False


async def rotate(built: Built, options: argparse.Namespace) -> bool:
    settings = built.settings
    blobs = SealedBlobs(open_store(settings.blob_url), read_keys(settings.key_file))
    rotated = await rotate_keys(built.stores.voices, blobs, clock)
    _say_row({**asdict(rotated), "old_keys_may_go": rotated.old_keys_may_go}, as_json=options.json)
    return not rotated.old_keys_may_go


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="newvisions admin voice", description="Manages voices: the pool, clones, keys."
    )
    things = parser.add_subparsers(required=True, metavar="what")
    pool = _group(things, "pool", "the places for voices at the provider")
    _command(pool, "status", "what the pool holds, and what is left of the plan", show_status)
    passing = _command(pool, "reconcile", "compare with the provider, and put right what differs", reconcile)
    passing.add_argument("--dry-run", action="store_true", help="only tell what would be done")
    evicting = _command(pool, "evict", "take a voice's place away; its user's sample stays", evict)
    evicting.add_argument("voice_id", help="as `clones list` shows it")
    clones = _group(things, "clones", "clones of users' voices")
    listing = _command(clones, "list", "clones, newest first", list_clones)
    listing.add_argument("--limit", type=_count, default=50)
    keys = _group(things, "keys", "the keys that samples and profiles are sealed with")
    _command(keys, "rotate", "seal all with the first key of the key file, so that others can go", rotate)
    return parser


def _group(things: Any, thing: str, about: str) -> Any:
    parser = things.add_parser(thing, help=about, description=about)
    return parser.add_subparsers(required=True, metavar="command")


def _command(
    group: Any, verb: str, does: str, run: Callable[[Built, argparse.Namespace], Awaitable[bool]]
) -> argparse.ArgumentParser:
    """`run` returns whether something is left."""
    command: argparse.ArgumentParser = group.add_parser(verb, help=does, description=does)
    command.add_argument("--json", action="store_true", help="one JSON line, for scripts")
    command.set_defaults(command=run)
    return command


def _status_row(status: PoolStatus) -> Row:
    ledger = status.ledger
    return {
        "provider": status.provider,
        "capacity": ledger.capacity,
        "size": len(ledger.slots),
        "in_flight": status.count(SlotState.ADDING),
        "pinned": status.pinned,
        "reuse_ratio": None if status.reuse_ratio is None else round(status.reuse_ratio, 3),
        "evictions": ledger.evictions,
        "creations": ledger.creations,
        "adds_limit": ledger.most_adds,
        "adds_used": ledger.adds_spent,
        "adds_reset_at": ledger.renewed_at,
        "orphans": ledger.orphans,
        "deletion_pending": status.count(SlotState.LEAVING),
        "last_reconcile": ledger.reconciled_at,
    }


def _count(text: str) -> int:
    value = int(text)
    if not 1 <= value <= 100_000:
        raise argparse.ArgumentTypeError(f"{value} is not between 1 and 100000")
    return value


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")


def _say_row(row: Row, *, as_json: bool) -> None:
    """One thing: a name and a value on each line."""
    if as_json:
        _say(json.dumps(row, default=_plain))
        return
    width = max(map(len, row))
    _say("\n".join(f"{name.ljust(width)}  {_cell(value)}".rstrip() for name, value in row.items()))


def _say_rows(key: str, columns: Sequence[str], rows: Sequence[Row], *, as_json: bool) -> None:
    """Many things: a table with a heading."""
    if as_json:
        _say(json.dumps({key: rows}, default=_plain))
        return
    table = [list(columns), *([_cell(row[name]) for name in columns] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in table)
    _say("\n".join(line.rstrip() for line in lines))


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return _plain(value) if isinstance(value, datetime) else str(value)


def _plain(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds")
    raise TypeError(f"{type(value).__name__} has no place in an answer")


def _refuse(complaint: str) -> NoReturn:
    sys.exit(f"newvisions admin voice: {complaint}")


if __name__ == "__main__":
    main()
