"""Whether this machine's clock can be believed: others have one too."""

from datetime import datetime, timedelta

from dev.doctor.findings import Finding, failed, ok, warning

_FINE = timedelta(seconds=2)
# From here on replicas take over one another's performances while they are under way.
_WRONG = timedelta(seconds=10)


def judged(what: str, ours: datetime, theirs: datetime, grain: timedelta = timedelta(0)) -> Finding:
    """`grain` is what the other one rounds down to."""
    drift = ours - (theirs + grain / 2)
    apart = f"{abs(drift.total_seconds()):.1f} s {'ahead of' if drift > timedelta(0) else 'behind'} it"
    fix = "set this machine's and that one's clocks by NTP (chrony, systemd-timesyncd)"
    if abs(drift) > _WRONG:
        return failed(what, f"our clock is {apart}", fix)
    if abs(drift) > _FINE:
        return warning(what, f"our clock is {apart}", fix)
    return ok(what, f"our clock agrees with it within {_FINE.total_seconds():.0f} s")
