"""`newvisions doctor`: what is wrong with a running stack, or with what this environment names."""

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from dev.doctor.configured import Configured, read_configured
from dev.doctor.findings import Check, Finding, State
from dev.doctor.keys import check_keys
from dev.doctor.machine import check_disk, check_versions
from dev.doctor.network import addresses_of_stack, check_gateway, check_service
from dev.doctor.providers import provider_checks
from dev.doctor.stores import check_blobs, check_cache, check_database
from dev.target import NoStackThere, Target, add_target, find_target

_HELP = """\
Looks at databases, cache, blob stores, keys, clocks, disks, versions, services and the gateway. Changes
nothing; providers are asked for what costs nothing. Looks at the stack that runs on DIR; without --data-dir
at the one on var/up, or, when none runs there, at what the environment variables name, as in a pod. Ends
with 1 when something failed.
"""


def main() -> int:
    parser = argparse.ArgumentParser(prog="newvisions doctor", description=_HELP)
    add_target(parser)
    parser.add_argument("--gateway", default="", metavar="URL", help="the gateway, for an environment")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    try:
        target = find_target(options.data_dir, environment=options.environment)
    except NoStackThere as missing:
        print(f"newvisions doctor: {missing}", file=sys.stderr)
        return 2
    # The services' settings are read as the services do.
    os.environ.update(target.variables)
    findings = asyncio.run(_examine(target, options.gateway))
    good = all(finding.state is not State.FAILED for finding in findings)
    if options.json:
        found = [
            {"what": each.what, "state": each.state, "said": each.said, "fix": each.fix} for each in findings
        ]
        print(json.dumps({"ok": good, "findings": found}))
    else:
        print("\n".join(map(str, findings)))
    return 0 if good else 1


async def _examine(target: Target, gateway: str) -> list[Finding]:
    """All at once, told in order."""
    configured = read_configured()
    found = await asyncio.gather(*(check() for check in _checks(configured, target, gateway)))
    return [*configured.findings, *(finding for findings in found for finding in findings)]


def _checks(configured: Configured, target: Target, gateway: str) -> list[Check]:
    services = configured.peers()
    if target.data:
        found, addresses = addresses_of_stack(target.data)
        gateway, services = gateway or found, services | addresses
    issuer = configured.auth.token_issuer if configured.auth else "newvisions"
    folders: Sequence[Path] = [*([target.data] if target.data else []), *configured.folders()]
    return [
        *(partial(check_database, *each) for each in configured.databases().items()),
        *(partial(check_cache, *each) for each in configured.caches().items()),
        *(partial(check_blobs, *each) for each in configured.blobs().items()),
        partial(check_keys, configured),
        *provider_checks(configured),
        partial(check_disk, folders),
        check_versions,
        *(partial(check_service, *each, configured.tls) for each in services.items()),
        partial(check_gateway, gateway, issuer),
    ]


if __name__ == "__main__":
    raise SystemExit(main())
