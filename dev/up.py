"""`newvisions up`: the whole product on this machine until Ctrl-C, and how to talk to it."""

import argparse
import asyncio
import json
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

from dev.admin import DATA
from dev.interrupt import INTERRUPTED, run_until_interrupted
from dev.observing import NotInstalled, Observation, installed
from dev.ports import free_port
from dev.process import ProcessNotReady
from dev.project import ROOT
from dev.services import Provider
from dev.simulator.plans import PLANS
from dev.simulator.serving import spec as simulator
from dev.stack import DataDirectoryInUse, Stack
from gateway.client import ClientUnusable

CODES = 10
_LAST_PORT = 65_535
# Never the data of a real key: what the simulator forgets when it stops would look lost there.
SIMULATED_DATA = ROOT / "var/simulated"
ELEVENLABS = "https://api.elevenlabs.io"


def main() -> int:
    options = _options()
    code = run_until_interrupted(_up(options))
    # Being told to stop is how this command ends.
    return 0 if code == INTERRUPTED else code


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="newvisions up", description=__doc__)
    parser.add_argument("--data-dir", type=Path, help="keeps all data (default: var/up)")
    parser.add_argument("--port", type=int, default=0, help="of the gateway (default: a free one)")
    parser.add_argument("--processes", choices=["one", "many"], default="one", help="for the five services")
    parser.add_argument("--engine", choices=["local", "tone"], default="local", help="tone is for tests only")
    parser.add_argument("--client", type=Path, metavar="DIR", help="a client's files, served at /")
    parser.add_argument("--json", action="store_true", help="print one JSON line when ready")
    _add_provider(parser)
    _add_observation(parser)
    options = parser.parse_args()
    if options.alerts and not options.observe:
        parser.error("--alerts goes with --observe")
    if not 0 <= options.port <= _LAST_PORT:
        parser.error(f"--port goes up to {_LAST_PORT}")
    if options.elevenlabs_key_file and not options.elevenlabs_key_file.is_file():
        parser.error(f"there is no file {options.elevenlabs_key_file}")
    if options.data_dir is None:
        options.data_dir = SIMULATED_DATA if options.simulator else DATA
    return options


def _add_provider(parser: argparse.ArgumentParser) -> None:
    at = parser.add_argument_group("where voices are cloned (default: by the embedded engine)")
    which = at.add_mutually_exclusive_group()
    which.add_argument("--elevenlabs-key-file", type=Path, metavar="FILE", help="holds your API key")
    which.add_argument(
        "--simulator",
        action="store_true",
        help="a stand-in for ElevenLabs whose voices are tones; data in var/simulated",
    )
    at.add_argument("--elevenlabs-url", default=ELEVENLABS, metavar="URL", help=f"default: {ELEVENLABS}")
    at.add_argument("--plan", choices=PLANS, default="creator", help="of the simulator (default: creator)")
    at.add_argument(
        "--faults", type=float, default=0.0, metavar="SHARE", help="of the simulator's answers, 0 to 1"
    )


def _add_observation(parser: argparse.ArgumentParser) -> None:
    seen = parser.add_argument_group("watching it")
    seen.add_argument("--observe", action="store_true", help="start Prometheus and Alertmanager beside it")
    seen.add_argument("--alerts", default="", metavar="URL", help="where Alertmanager posts alerts")


def _provider(options: argparse.Namespace) -> Provider | None:
    if options.elevenlabs_key_file:
        return Provider(options.elevenlabs_url, options.elevenlabs_key_file)
    if not options.simulator:
        return None
    key_file: Path = options.data_dir.resolve() / "secrets" / "simulator.key"
    key_file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    key_file.write_text("any key will do")
    port = free_port()
    stand_in = simulator(port, "--plan", options.plan, "--faults", str(options.faults))
    return Provider(f"http://127.0.0.1:{port}", key_file, stand_in)


async def _up(options: argparse.Namespace) -> int:
    try:
        observation = installed(options.alerts) if options.observe else None
    except NotInstalled as failure:
        _say(str(failure))
        return 1
    provider = _provider(options)
    stack = Stack(
        options.data_dir,
        processes=options.processes,
        engine=options.engine,
        port=options.port,
        provider=provider,
        client=options.client,
        observation=observation,
    )
    _say(f"starting on the data in {stack.data} ...")
    try:
        async with stack:
            tell = _as_json if options.json else _as_text
            print(await tell(stack, provider, observation), flush=True)
            _say(f"crashed: {await stack.first_crash()}")
    except (ProcessNotReady, DataDirectoryInUse, ClientUnusable, OSError) as failure:
        _say(str(failure))
    except asyncio.CancelledError:
        _say("stopped")
        raise
    return 1


async def _as_json(stack: Stack, provider: Provider | None, observation: Observation | None) -> str:
    codes, token = await asyncio.gather(stack.activation_codes(CODES), stack.admin_token())
    ready: dict[str, object] = {"url": stack.url, "activation_codes": codes, "admin_token": token}
    if provider and provider.stand_in:
        ready["simulator"] = provider.base_url
    return json.dumps(ready | (observation.urls if observation else {}))


async def _as_text(stack: Stack, provider: Provider | None, observation: Observation | None) -> str:
    (code,) = await stack.activation_codes(1)
    return "\n".join([*_spoken_by(provider), *_watched_by(observation), *_how_to(stack, code)])


def _say(line: str) -> None:
    sys.stderr.write(f"newvisions up: {line}\n")
    sys.stderr.flush()


def _spoken_by(provider: Provider | None) -> Iterator[str]:
    if provider and provider.stand_in:
        yield "VOICES ARE TONES: a simulator stands in for ElevenLabs."
        yield f"What it holds, and all that was done to it: {provider.base_url}/_sim/audit"
    elif provider:
        yield f"Voices are cloned at {provider.base_url}, at the cost of the key's owner."


def _watched_by(observation: Observation | None) -> Iterator[str]:
    if observation is None:
        return
    for name, url in observation.urls.items():
        yield f"{name.capitalize()} is at {url}"
    if observation.alertmanager is None:
        yield "Alertmanager is not installed: alerts are seen at Prometheus alone."
    elif observation.webhook:
        yield f"Alerts are posted to {observation.webhook}"


def _how_to(stack: Stack, code: str) -> Iterator[str]:
    yield f"New Visions is at {stack.url}"
    yield f"Activation code, good for one registration: {code}"
    yield f"Logs: {stack.logs}"
    yield "\nPaste these one after the other:\n"
    for what, command in steps(stack.url, stack.data, code):
        yield f"# {what}\n{command}\n"
    yield "Ctrl-C stops everything; the data stays."


def steps(url: str, data: Path, code: str) -> Iterator[tuple[str, str]]:
    """Each step of the main path as a command line for a shell with curl."""
    jar, sample = shlex.quote(str(data / "cookies.txt")), shlex.quote(f"@{ROOT / 'demo/two-cities.mp3'}")
    as_user = f"curl -sS -b {jar}"
    name = f"performer-{code.lower()}"

    def post(path: str, body: dict[str, object], curl: str = "curl -sS") -> str:
        return f"{curl} {url}{path} -H 'content-type: application/json' -d {shlex.quote(json.dumps(body))}"

    account: dict[str, object] = {"username": name, "password": "correct horse battery"}
    registration = {**account, "email": f"{name}@example.com", "activationCode": code}
    performance: dict[str, object] = {"routine_type": "cards", "value": "Seven of Hearts"}
    newest = f'$({as_user} \'{url}/v1/recordings?page_size=1\' | sed \'s/.*"id": *"\\([^"]*\\)".*/\\1/\')'
    yield "register", post("/v1/auth/register", registration)
    yield "log in; the session is kept as a cookie", post("/v1/auth/login", account, f"curl -sS -c {jar}")
    yield (
        "put a fan under the memos",
        post("/v1/users/me/settings", {"background_sound": True}, f"{as_user} -X PATCH"),
    )
    yield (
        "upload a voice sample: 30 to 60 seconds of one person speaking",
        f"{as_user} {url}/v1/users/me/voice:upload -H 'content-type: audio/mpeg' --data-binary {sample}",
    )
    yield "is the voice there?", f"{as_user} {url}/v1/users/me/voice/meta"
    yield (
        "perform; the answer is JSON with the memo as base64",
        post("/v1/perform", performance, as_user) + " -o performance.json && cut -c 1-200 performance.json",
    )
    yield (
        "perform and stream the memo",
        post("/v1/perform:stream", performance, as_user) + " -o streamed.mp3",
    )
    yield "list the recordings", f"{as_user} {url}/v1/recordings"
    yield "download the newest recording", f'{as_user} "{url}/v1/recordings/{newest}/audio" -o memo.mp3'
    yield "delete it", f'{as_user} -X DELETE "{url}/v1/recordings/{newest}"'
    yield "what is left of the month's credits", f"{as_user} {url}/v1/users/me/meta"


if __name__ == "__main__":
    raise SystemExit(main())
