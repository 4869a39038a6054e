"""`newvisions backup FOLDER` and `newvisions restore FOLDER`."""

import argparse
import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from obstore.exceptions import BaseError
from pymongo.errors import PyMongoError

from dev.admin import DATA
from dev.backup.making import FolderNotEmpty, make_backup
from dev.backup.manifest import Manifest, NoBackup
from dev.backup.restoring import BackupDamaged, CountsDiffer, KeysDiffer, TargetNotEmpty, restore_backup
from dev.backup.stores import StackRuns, open_stores, stopped_stack
from dev.process import ProcessNotReady
from dev.target import Target, add_target, find_target

_REFUSALS = (FolderNotEmpty, NoBackup, BackupDamaged, TargetNotEmpty, KeysDiffer, CountsDiffer, StackRuns)
_FAILURES = (PyMongoError, BaseError, OSError, ProcessNotReady)
_BACKUP = """\
Copies the databases of auth, voice and perform and their audio into FOLDER, which must be new or empty. The
services may run meanwhile. The key files stay where they are, unless --with-keys: keep them somewhere else,
or the backup opens nothing. docs/backup.md says what is consistent and what is not.
"""
_RESTORE = """\
Brings back what `newvisions backup` put into FOLDER. No service may run on the data. Every file is compared
with its digest first. Refuses to restore over data, unless --replace: then that data is lost.
"""


def main() -> int:
    options = _options()
    try:
        return asyncio.run(_run(options))
    except _REFUSALS as refusal:
        return _say(options.command, str(refusal))
    except _FAILURES as failure:
        again = "" if options.command == "backup" else "; mend that, and restore again with --replace"
        return _say(options.command, f"not finished: {type(failure).__name__} {str(failure)[:300]}{again}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="newvisions")
    commands = parser.add_subparsers(dest="command", required=True)
    backup = commands.add_parser("backup", description=_BACKUP)
    backup.add_argument("--with-keys", action="store_true", help="also the key files, mode 0600")
    restore = commands.add_parser("restore", description=_RESTORE)
    restore.add_argument("--replace", action="store_true", help="what is there now is lost")
    for command in (backup, restore):
        command.add_argument("folder", type=Path, metavar="FOLDER")
        add_target(command)
    return parser.parse_args()


async def _run(options: argparse.Namespace) -> int:
    async with AsyncExitStack() as stack:
        target = await stack.enter_async_context(_target(options))
        # The services' settings are read as the services do.
        os.environ.update(target.variables)
        stores = await stack.enter_async_context(open_stores())
        if options.command == "backup":
            os.umask(0o077)
            manifest = await make_backup(stores, options.folder, with_keys=options.with_keys)
        else:
            manifest = await restore_backup(stores, options.folder, replace=options.replace)
    _tell(options, target, manifest)
    return 0


@asynccontextmanager
async def _target(options: argparse.Namespace) -> AsyncIterator[Target]:
    """A running stack, a stopped one whose database we run meanwhile, or our environment."""
    data: Path = (options.data_dir or DATA).resolve()
    if _means_environment(options):
        yield Target()
    elif not (data / "settings.json").is_file():
        async with stopped_stack(data) as settings:
            yield Target(settings, data)
    elif options.command == "restore":
        raise StackRuns(f"a stack runs on {data}; stop it first")
    else:
        yield find_target(data)


def _means_environment(options: argparse.Namespace) -> bool:
    return options.environment or (options.data_dir is None and not DATA.is_dir())


def _tell(options: argparse.Namespace, target: Target, manifest: Manifest) -> None:
    documents = sum(collection.documents for collection in manifest.collections)
    whose = f"the stack on {target.data}" if target.data else "what the environment names"
    done = "kept in" if options.command == "backup" else "restored from"
    counted = f"{documents} documents and {sum(manifest.blobs.values())} blobs of {whose}"
    print(f"newvisions {options.command}: {counted} {done} {options.folder}")
    if options.command == "backup" and not options.with_keys:
        print(
            "newvisions backup: THE KEY FILES ARE NOT IN IT. Keep AUTH_KEY_FILE and VOICE_KEY_FILE somewhere "
            "else: without them voices and signing keys cannot be opened."
        )


def _say(command: str, line: str) -> int:
    print(f"newvisions {command}: {line}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    raise SystemExit(main())
