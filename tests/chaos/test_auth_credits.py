"""Kill -9 between reserve and settle, of the auth service and of its database: real processes, real files."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
import pytest

from dev.process import Process, Spec
from dev.services import Plan
from newvisions.auth.v1 import account_service_pb2 as account_pb
from newvisions.auth.v1 import auth_service_pb2 as pb
from newvisions.auth.v1.account_service_pb2_grpc import AccountServiceStub
from newvisions.auth.v1.auth_service_pb2_grpc import AuthServiceStub
from tests.integration.auth_channel import ADMIN, PASSWORD, signed_in

ROOT = Path(__file__).parent.parent.parent
LIMIT = 4000
SPOKEN, LONGEST = 5, 10
CALLERS = 6
# Credits are returned after this long, so a test need not wait for minutes.
QUICKLY = {"AUTH_RESERVATION_SECONDS": "2", "AUTH_SWEEP_SECONDS": "0.2", "AUTH_ARGON2_MEMORY_KIB": "1024"}


class Service:
    """The auth service with its stores, each a process that can be killed and started again."""

    def __init__(self, data: Path) -> None:
        (data / "secrets").mkdir()
        (data / "secrets" / "auth.key").write_text(os.urandom(32).hex())
        plan = Plan(data, "many", "tone", QUICKLY)
        self.address = plan.address("auth")
        self._logs = data
        self._specs = {spec.name: spec for spec in plan.table() if spec.name in {"mongo", "valkey", "auth"}}
        self._running: dict[str, Process] = {}

    async def start(self, name: str) -> None:
        spec: Spec = self._specs[name]
        self._running[name] = await Process.start(spec, self._logs, ROOT)

    async def kill(self, name: str) -> None:
        """With all its children, and without a word of warning."""
        os.killpg(self._running[name].pid, signal.SIGKILL)
        await self._running.pop(name).ended

    async def stop(self) -> None:
        for name in tuple(self._running):
            await self.kill(name)

    async def a_moment(self) -> None:
        """Ends early when the service died, and then says so."""
        auth = self._running["auth"]
        await asyncio.wait([auth.ended], timeout=0.1)
        assert not auth.ended.done(), auth.epitaph()

    @asynccontextmanager
    async def channel(self) -> AsyncIterator[grpc.aio.Channel]:
        async with grpc.aio.insecure_channel(self.address) as channel:
            yield channel


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    service = Service(tmp_path)
    async with AsyncExitStack() as cleanup:
        cleanup.push_async_callback(service.stop)
        await asyncio.gather(service.start("mongo"), service.start("valkey"))
        await service.start("auth")
        yield service


@dataclass
class Told:
    """What callers were told before everything went dark."""

    reserved: set[str] = field(default_factory=set)
    charged: dict[str, int] = field(default_factory=dict)
    some: asyncio.Event = field(default_factory=asyncio.Event)


async def new_user(auth: Any) -> str:
    made = await auth.CreateActivationCodes(pb.CreateActivationCodesRequest(count=1), metadata=ADMIN)
    name = f"u{uuid4().hex[:12]}"
    asked = pb.RegisterRequest(
        username=name, email=f"{name}@example.org", password=PASSWORD, activation_code=made.codes[0]
    )
    return str((await auth.Register(asked)).user_id)


async def reserve(auth: Any, user: str, told: Told) -> str:
    performance = str(uuid4())
    request = pb.ReserveCreditsRequest(user_id=user, performance_id=performance, max_characters=LONGEST)
    await auth.ReserveCredits(request, timeout=10)
    told.reserved.add(performance)
    return performance


async def settle(auth: Any, user: str, performance: str) -> int:
    request = pb.SettleCreditsRequest(user_id=user, performance_id=performance, characters=SPOKEN)
    return int((await auth.SettleCredits(request, timeout=10)).charged)


async def perform_until_it_goes_dark(auth: Any, user: str, told: Told) -> None:
    while True:
        try:
            performance = await reserve(auth, user, told)
            told.charged[performance] = await settle(auth, user, performance)
        except grpc.aio.AioRpcError as failure:
            assert failure.code() is grpc.StatusCode.UNAVAILABLE, failure
            return
        if len(told.charged) >= 4 * CALLERS:
            told.some.set()


async def month(auth: Any, user: str) -> Any:
    return await auth.GetUserMeta(
        pb.GetUserMetaRequest(user_id=user), metadata=signed_in(user), wait_for_ready=True, timeout=10
    )


async def month_with_everything_returned(service: Service, auth: Any, user: str) -> Any:
    async with asyncio.timeout(20):
        while (found := await month(auth, user)).reserved_chars:
            await service.a_moment()
    return found


async def statement(channel: grpc.aio.Channel, user: str) -> dict[str, tuple[str, int]]:
    account: Any = AccountServiceStub(channel)  # type: ignore[no-untyped-call]
    said, token = {}, ""
    while True:
        request = account_pb.ListCreditEntriesRequest(user_id=user, page_size=100, page_token=token)
        page = await account.ListCreditEntries(request, metadata=signed_in(user))
        said.update({each.id: (each.state, each.credits) for each in page.entries})
        token = page.next_page_token
        if not token:
            return said


@pytest.mark.parametrize("victim", ["auth", "mongo"])
async def test_what_was_not_spent_comes_back_and_what_was_charged_stays(
    service: Service, victim: str
) -> None:
    told = Told()
    async with service.channel() as channel:
        auth: Any = AuthServiceStub(channel)  # type: ignore[no-untyped-call]
        user = await new_user(auth)
        left_behind = [await reserve(auth, user, told) for _ in range(3)]
        async with asyncio.timeout(30), asyncio.TaskGroup() as callers:
            for _ in range(CALLERS):
                callers.create_task(perform_until_it_goes_dark(auth, user, told))
            await told.some.wait()
            await service.kill(victim)
    await service.start(victim)

    async with service.channel() as channel:
        auth = AuthServiceStub(channel)  # type: ignore[no-untyped-call]
        found = await month_with_everything_returned(service, auth, user)
        said = await statement(channel, user)
        assert {performance: said[performance] for performance in told.charged} == {
            performance: ("settled", charged) for performance, charged in told.charged.items()
        }
        assert {said[performance] for performance in left_behind} == {("expired", 0)}
        # Whatever was under way took place or came back, as a whole.
        assert told.reserved <= set(said)
        assert set(said.values()) <= {("settled", SPOKEN), ("expired", 0)}
        assert found.char_count == sum(credits for _, credits in said.values()) <= LIMIT

        # What was heard all the same is still paid, once.
        assert [await settle(auth, user, left_behind[0]) for _ in range(2)] == [SPOKEN, SPOKEN]
        after = await month(auth, user)
        assert (after.char_count, after.reserved_chars) == (found.char_count + SPOKEN, 0)
