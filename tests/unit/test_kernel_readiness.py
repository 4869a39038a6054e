"""When a process says that it should be sent requests."""

from services.kernel.readiness import DEPENDENCY_UP, Dependencies


class Database:
    def __init__(self) -> None:
        self.up = True

    async def ping(self) -> None:
        if not self.up:
            raise OSError("no route to host")


class Told:
    def __init__(self) -> None:
        self.all: list[bool] = []

    async def __call__(self, ready: bool) -> None:
        self.all.append(ready)


async def test_a_lost_dependency_is_told_once_and_so_is_its_return() -> None:
    one, other, told = Database(), Database(), Told()
    watched = Dependencies({"one": one.ping, "other": other.ping}, told)
    await watched.look()
    one.up = other.up = False
    for _ in range(5):
        await watched.look()
    assert told.all == [False]
    assert DEPENDENCY_UP.labels("one")._value.get() == 0
    one.up = True
    await watched.look()
    assert told.all == [False]
    other.up = True
    await watched.look()
    assert told.all == [False, True]


async def test_an_answer_lost_now_and_then_changes_nothing() -> None:
    database, told = Database(), Told()
    watched = Dependencies({"database": database.ping}, told)
    for turn in range(12):
        database.up = turn % 3 == 0
        await watched.look()
    assert told.all == []


async def test_what_is_partly_needed_is_shown_and_no_reason_to_send_requests_elsewhere() -> None:
    database, store, told = Database(), Database(), Told()
    watched = Dependencies({"database": database.ping}, told, partly={"store": store.ping})
    store.up = False
    for _ in range(5):
        await watched.look()
    assert told.all == []
    assert DEPENDENCY_UP.labels("store")._value.get() == 0
    database.up = False
    for _ in range(5):
        await watched.look()
    database.up = True
    await watched.look()
    assert told.all == [False, True]
