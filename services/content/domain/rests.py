"""How long whoever does not answer is left alone."""

from typing import Final

_FAILURES_BEFORE_A_REST: Final = 2
_SHORTEST_SECONDS, _LONGEST_SECONDS = 15.0, 60.0


class Rest:
    """Of one that many ask at once. After two failures in a row it is not asked for a while; then one asks,
    and the others go on without it until that one is answered. A failure doubles the rest."""

    def __init__(self) -> None:
        self._failures = 0
        # Since it last answered.
        self._rests = 0
        self._until = 0.0

    def over(self, now: float) -> bool:
        return now >= self._until

    def asked(self, now: float) -> int:
        """What to report a failure with."""
        if self._rests:
            self._until = now + self._seconds()
        return self._rests

    def answered(self) -> None:
        self._failures, self._rests, self._until = 0, 0, 0.0

    def failed(self, asked: int, now: float) -> None:
        if asked != self._rests:
            # It was asked before this rest began: that others fail as well is no news.
            return
        self._failures += 1
        if self._rests or self._failures >= _FAILURES_BEFORE_A_REST:
            self._failures, self._rests = 0, self._rests + 1
            self._until = now + self._seconds()

    def _seconds(self) -> float:
        return min(_SHORTEST_SECONDS * 2.0 ** (self._rests - 1), _LONGEST_SECONDS)
