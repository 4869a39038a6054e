"""Work that belongs to no call.

Expired reservations are given back, new signing keys met, erasures gone on with, what is old removed.
"""

from services.auth.composition import Built
from services.auth.everywhere import Everywhere
from services.kernel.clock import clock
from services.kernel.rounds import again_and_again

# An erasure may take so long at a stretch; below the lease under which a replica works on it.
_ERASING_SECONDS = 45.0


async def sweep(built: Built, seconds: float) -> None:
    """Every replica sweeps; conditional updates give each reservation back once."""

    async def work() -> None:
        await built.ask.credits.return_expired(clock())
        await built.ask.keys.drop_ended(clock())

    await again_and_again("auth sweep", work, seconds)


async def erase_and_retire(everywhere: Everywhere, seconds: float) -> None:
    """Apart from the other rounds: a service that answers slowly holds nobody's credits back."""

    async def work() -> None:
        await everywhere.erasures.resume(clock(), _ERASING_SECONDS)
        await everywhere.retention.enforce(everywhere.erasures, clock(), _ERASING_SECONDS)

    await again_and_again("auth erasures", work, seconds)
