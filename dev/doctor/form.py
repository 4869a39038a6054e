"""Whether a service's documents have the form that this release works with."""

from collections.abc import Mapping
from typing import Any, Final

from pymongo.asynchronous.database import AsyncDatabase

from dev.doctor.findings import Finding, failed, ok, warning
from services.auth.schema import SCHEMA as AUTH
from services.kernel.schema import Keeper, Schema
from services.perform.schema import SCHEMA as PERFORM
from services.voice.schema import SCHEMA as VOICE

SCHEMAS: Final[Mapping[str, Schema]] = {schema.service: schema for schema in (AUTH, VOICE, PERFORM)}


async def check_form(service: str, database: AsyncDatabase[dict[str, Any]]) -> Finding:
    what, schema = f"documents ({service})", SCHEMAS[service]
    version, needs = await Keeper(database, schema).version(), schema.version
    if version == needs:
        return ok(what, f"form {version}, as this release needs")
    if version > needs:
        fix = "start the newer release, or restore an older backup"
        return failed(what, f"form {version} of a newer release; this one knows form {needs}", fix)
    if not await database.list_collection_names():
        return warning(what, "there are none yet", f"start {service} once: it makes what it needs")
    return failed(
        what, f"form {version}, and this release needs {needs}", f"run `newvisions migrate {service}`"
    )
