"""Does to a site what a plan says."""

import asyncio
import shutil
import signal
from contextlib import suppress

from tests.chaos.performances import striking
from tests.chaos.performances.history import History
from tests.chaos.performances.plan import SECONDS, Disturbance
from tests.chaos.performances.site import Site, faked_clock

_SLOW_SECONDS = 0.04


async def disturb(site: Site, what: Disturbance, history: History) -> None:
    await asyncio.sleep(what.at)
    if what.step and not await striking.until(site, what.step, SECONDS - what.at):
        history.left_out.append(f"nobody came to {what.step}")
    async with site.alone(what.whom):
        with history.outage(f"{what.what} {what.whom}{' at ' + what.step if what.step else ''}"):
            await _DEEDS[what.what](site, what, history)


async def _kill(site: Site, what: Disturbance, _: History) -> None:
    """Without a word of warning."""
    await site.kill(what.whom)
    await asyncio.sleep(what.lasts)
    await site.revive(what.whom)


async def _freeze(site: Site, what: Disturbance, _: History) -> None:
    """A pause as long garbage collections, swapping and moved machines make them."""
    site.signal(what.whom, signal.SIGSTOP)
    await asyncio.sleep(what.lasts)
    site.signal(what.whom, signal.SIGCONT)


async def _cut(site: Site, what: Disturbance, _: History) -> None:
    proxy = site.proxies[what.whom]
    proxy.refuse(refuses=True)
    proxy.cut()
    await asyncio.sleep(what.lasts)
    proxy.refuse(refuses=False)


async def _slow(site: Site, what: Disturbance, _: History) -> None:
    proxy = site.proxies[what.whom]
    proxy.delay_seconds = _SLOW_SECONDS
    await asyncio.sleep(what.lasts)
    proxy.delay_seconds = 0.0


async def _fill_disk(site: Site, what: Disturbance, history: History) -> None:
    if not site.small_disk:
        history.left_out.append("disk: only who may mount a small one can fill it")
        return
    filler = site.audio / "filler"
    with suppress(OSError), filler.open("wb") as file:
        while True:
            # Whole blocks until there are no more.
            file.write(bytes(1 << 16))
            file.flush()
    history.left_out += [] if shutil.disk_usage(site.audio).free < 1 << 16 else ["disk: it was not full"]
    await asyncio.sleep(what.lasts)
    filler.unlink()


async def _turn_clock(site: Site, what: Disturbance, history: History) -> None:
    if faked_clock() is None:
        history.left_out.append("clock: no faked one is installed (Debian: apt-get install faketime)")
        return
    clock = site.clock_of(what.whom)
    clock.write_text(f"{what.shift:+d}")
    await asyncio.sleep(what.lasts)
    clock.write_text("+0")


_DEEDS = {
    "kill": _kill,
    "freeze": _freeze,
    "cut": _cut,
    "slow": _slow,
    "disk": _fill_disk,
    "clock": _turn_clock,
}
