"""Comes round every so often and finishes what died half-way."""

import asyncio

import structlog

from services.kernel.errors import ServiceError
from services.voice.keeping import Keeping

log = structlog.get_logger()


async def sweep_forever(keeping: Keeping, every_seconds: float) -> None:
    """Safe to run in every replica: conditional updates decide who finishes what."""
    while True:
        try:
            await keeping.sweep()
        except ServiceError as error:
            log.warning("voice_sweep_postponed", cause=error.reason)
        except Exception:
            # A bug in one round must not end all later ones; voices would stay half removed unseen.
            log.exception("voice_sweep_crashed")
        await asyncio.sleep(every_seconds)
