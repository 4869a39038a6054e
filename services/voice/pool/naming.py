"""A voice's own id as its name, by which people find it at the provider. It costs an add of its own."""

from datetime import datetime

from services.voice.ports import Places, ProviderAddsSpent
from services.voice.slots import Slots


async def named_by_its_id(provider: Places, slots: Slots, engine_voice_id: str, now: datetime) -> None:
    """The add is counted before it is asked for, and stays counted whatever comes of it: what the provider
    does and the ledger does not know is promised to somebody else.

    Raises what `Places.rename` raises; ProviderAddsSpent also when the ledger has no add left.
    """
    if not await slots.spend_add(now):
        raise ProviderAddsSpent("No more voices can be made or renamed this month.")
    await provider.rename(engine_voice_id, engine_voice_id)
