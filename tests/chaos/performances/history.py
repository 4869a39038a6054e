"""What was asked and what was answered, as those saw it who asked."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos.outages import Outages

_AGAIN = frozenset({0, 429, 502, 503, 504})


@dataclass
class Answer:
    """One attempt at one request. A status of 0: no whole answer came."""

    began: float
    ended: float = 0.0
    status: int = 0
    error: str = ""
    recording_id: str = ""
    text: str = ""
    voice_source: str = ""
    # The caller hung up, or the connection broke.
    lost: bool = False
    audio: bytes = b""

    @property
    def asks_again(self) -> bool:
        """There is no outcome yet, or it came to nothing by no fault of the request."""
        return self.status in _AGAIN or self.error == "PROVIDER_VOICE_MISSING"


@dataclass
class Request:
    user_id: str
    value: str
    # Empty: as the shipped client asks.
    key: str
    streamed: bool
    answers: list[Answer] = field(default_factory=list)

    @property
    def good(self) -> list[Answer]:
        return [answer for answer in self.answers if answer.status == 200]


@dataclass
class History(Outages):
    requests: list[Request] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def write(self, path: Path, head: dict[str, Any]) -> None:
        """Everything in the order of time, a JSON object a line."""
        lines: list[dict[str, Any]] = [{"at": each.began, "outage": asdict(each)} for each in self.outages]
        for request in self.requests:
            asked = {"user": request.user_id, "value": request.value, "key": request.key}
            for answer in request.answers:
                told = {**asdict(answer), "audio": len(answer.audio)}
                lines.append({"at": answer.began, **asked, "streamed": request.streamed, "answer": told})
        lines.sort(key=lambda line: float(line["at"]))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(json.dumps(line) for line in (head, *lines)) + "\n")
