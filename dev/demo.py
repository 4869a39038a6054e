"""`newvisions demo`: one performer's evening from activation code to downloaded memo, on a fresh stack."""

import argparse
import base64
import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

import httpx

from dev.interrupt import run_until_interrupted
from dev.performer import Performer, Refused, accepted
from dev.process import ProcessNotReady
from dev.project import ROOT
from dev.stack import Stack
from dev.waveform import draw

SAMPLE = ROOT / "demo/two-cities.mp3"
VALUES = {"en": "Seven of Hearts", "es": "Siete de Corazones"}
LANGUAGES = {"en": "English", "es": "Spanish"}
KIND = "a local clone of the sample's voice"


def main() -> int:
    options = _options()
    if not options.sample.is_file():
        sys.stderr.write(f"demo: there is no file {options.sample}\n")
        return 1
    return run_until_interrupted(_demo(options, Story(quiet=options.json)))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="newvisions demo", description=__doc__)
    parser.add_argument("--sample", type=Path, default=SAMPLE, help="30 to 60 s of one person speaking")
    parser.add_argument("--value", help="what the spectator thinks of (default: a playing card)")
    parser.add_argument("--routine", default="cards", help="what kind of thing that is (default: cards)")
    parser.add_argument("--language", help="only this language, as a code like en (default: en and es)")
    parser.add_argument("--out", type=Path, default=Path("out"), help="where the files go (default: out)")
    parser.add_argument("--engine", choices=["local", "tone"], default="local", help="tone is for tests only")
    parser.add_argument("--json", action="store_true", help="print the stages as one JSON object instead")
    return parser.parse_args()


class Story:
    """Tells what happens as it happens, and keeps the times."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self.stages: list[dict[str, Any]] = []

    @contextmanager
    def stage(self, name: str) -> Iterator[dict[str, Any]]:
        self.tell(f"{name} ...")
        started, facts = perf_counter(), dict[str, Any]()
        yield facts
        self.stages.append({"stage": name, "seconds": round(perf_counter() - started, 3), **facts})

    def tell(self, line: str) -> None:
        if not self._quiet:
            print(line, flush=True)

    def table(self) -> None:
        self.tell(f"\n{'stage':<50} {'seconds':>8}  result")
        for stage in self.stages:
            self.tell(f"{stage['stage']:<50} {stage['seconds']:>8.2f}  {stage.get('result', '')}")


async def _demo(options: argparse.Namespace, story: Story) -> int:
    with tempfile.TemporaryDirectory(prefix="newvisions-demo-", ignore_cleanup_errors=True) as directory:
        stack = Stack(Path(directory), engine=options.engine)
        try:
            options.out.mkdir(parents=True, exist_ok=True)
            await _evening(stack, options, story)
        except (Refused, ProcessNotReady, httpx.HTTPError, OSError) as failure:
            kept = _keep_logs(stack, options.out)
            sys.stderr.write(f"demo: it did not work. {failure or type(failure).__name__}\n")
            sys.stderr.write(f"demo: the logs of all processes are in {kept}\n")
            return 1
    _write_down(options, story)
    return 0


def _keep_logs(stack: Stack, out: Path) -> Path:
    kept = out.resolve() / "logs"
    kept.mkdir(parents=True, exist_ok=True)
    for log in stack.logs.glob("*.log"):
        (kept / log.name).write_bytes(log.read_bytes())
    return kept


async def _evening(stack: Stack, options: argparse.Namespace, story: Story) -> None:
    async with AsyncExitStack() as running:
        with story.stage("Start databases, services and the gateway") as facts:
            await running.enter_async_context(stack)
            facts["result"] = stack.url
        with story.stage("Make an activation code"):
            code = (await stack.activation_codes(1))[0]
        async with Performer.signed_up(stack.url, code) as performer:
            story.tell(f"Registered and logged in as {performer.username} with code {code}.")
            await _prepare(performer, options, story)
            await _perform_all(performer, options, story)
            await _look_back(performer, options, story)
        with story.stage("Stop everything"):
            await running.aclose()


async def _prepare(performer: Performer, options: argparse.Namespace, story: Story) -> None:
    with story.stage("Set the fan's volume to 30 percent"):
        accepted(await performer.set(background_sound=False, background_volume=30))
    with story.stage("Upload the voice sample and learn the voice") as facts:
        uploaded = accepted(await performer.upload(options.sample.read_bytes()))
        facts["result"] = f"{uploaded['duration']:.1f} s of {options.sample.name}, {uploaded['action']}"


async def _perform_all(performer: Performer, options: argparse.Namespace, story: Story) -> None:
    languages = [options.language] if options.language else list(VALUES)
    for language in languages:
        value = VALUES.get(language, VALUES["en"]) if options.value is None else options.value
        spoken = LANGUAGES.get(language, language)
        for fan in (False, True):
            with story.stage(f"Perform in {spoken}, {'with' if fan else 'without'} the fan") as facts:
                answer = await performer.perform(
                    value, options.routine, voice_language=language, background_sound=fan
                )
                memo = accepted(answer)
                file = options.out / f"memo-{language}{'-fan' if fan else ''}.mp3"
                file.write_bytes(base64.b64decode(memo["audio_base64"]))
                facts |= {"text": memo["text"], "voice_source": memo["voiceSource"], "file": str(file)}
                facts |= {"credits": memo["charsUsedEffective"], "result": str(file)}
            story.tell(f'  "{memo["text"]}"')
            story.tell(f"  in {_voice(memo['voiceSource'])}, {memo['charsUsedEffective']} credits -> {file}")
    await _stream_one(performer, languages[0], options, story)


def _voice(source: str) -> str:
    return {"local_clone": KIND, "provider_voice_id": "the provider's clone of the sample's voice"}[source]


async def _stream_one(performer: Performer, language: str, options: argparse.Namespace, story: Story) -> None:
    file = options.out / f"memo-{language}-streamed.mp3"
    value = VALUES.get(language, VALUES["en"]) if options.value is None else options.value
    with story.stage("Perform once more, streamed as it is spoken") as facts:
        asked, first, audio = perf_counter(), 0.0, bytearray()
        async with performer.stream(value, options.routine, voice_language=language) as response:
            if not response.is_success:
                await response.aread()
                accepted(response)
            async for chunk in response.aiter_bytes():
                first = first or perf_counter() - asked
                audio += chunk
        facts |= {"first_audio_seconds": round(first, 3), "file": str(file)}
        facts["result"] = f"first audio after {first:.2f} s -> {file}"
    file.write_bytes(audio)


async def _look_back(performer: Performer, options: argparse.Namespace, story: Story) -> None:
    with story.stage("List the recordings") as facts:
        recordings = await performer.recordings()
        facts["result"] = (
            f"{len(recordings)} recordings, the newest of {recordings[0]['duration_seconds']:.1f} s"
        )
    with story.stage("Download the newest recording") as facts:
        file = options.out / "memo-downloaded.mp3"
        answer = await performer.http.get(f"/v1/recordings/{recordings[0]['id']}/audio")
        if not answer.is_success:
            accepted(answer)
        file.write_bytes(answer.content)
        facts["result"] = f"{len(answer.content) // 1024} KiB -> {file}"
    with story.stage("Ask what is left of the month") as facts:
        credits_ = await performer.credits()
        facts["result"] = f"{credits_['charCount']} of {credits_['monthlyLimit']} credits spent"


def _write_down(options: argparse.Namespace, story: Story) -> None:
    memos = [Path(stage["file"]) for stage in story.stages if "file" in stage]
    picture, times = options.out / "memos.png", options.out / "demo.json"
    draw(memos, picture)
    times.write_text(json.dumps(story.stages, indent=2, ensure_ascii=False) + "\n")
    if options.json:
        print(json.dumps({"stages": story.stages, "waveform": str(picture)}, ensure_ascii=False))
        return
    story.table()
    story.tell(f"\nWaveforms of all memos: {picture}\nThese times as JSON:    {times}")
    story.tell(f"Listen to any of the MP3 files in {options.out.resolve()}. Everything has been stopped.")


if __name__ == "__main__":
    raise SystemExit(main())
