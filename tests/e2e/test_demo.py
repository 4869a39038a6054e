"""The demo with the real voice: the files it promises, and words that a machine understands."""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from moonshine_voice import ModelArch, Transcriber, get_model_path

from bench.listening import word_error_rate
from dev.project import PYTHONPATH, python

pytestmark = pytest.mark.slow


async def run_demo(directory: Path, *arguments: str) -> tuple[int, str, str]:
    child = await asyncio.create_subprocess_exec(
        *python("dev.demo", *arguments),
        cwd=directory,
        env={**os.environ, **PYTHONPATH, "CONTENT_MODELS": "offline"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    said, complaint = await child.communicate()
    assert child.returncode is not None
    return child.returncode, said.decode(), complaint.decode()


def heard_in(memo: Path, listener: Transcriber) -> str:
    resampler = av.AudioResampler("flt", "mono", 16_000)
    with av.open(str(memo)) as container:
        parts = [part for frame in container.decode(audio=0) for part in resampler.resample(frame)]
    audio = np.concatenate([part.to_ndarray()[0] for part in parts])
    lines = listener.transcribe_without_streaming(audio.tolist(), 16_000).lines
    return " ".join(line.text for line in lines)


async def test_the_demo_speaks_two_languages_intelligibly_in_the_sample_s_voice(tmp_path: Path) -> None:
    code, said, complaint = await run_demo(tmp_path, "--json")
    assert code == 0, complaint
    out = tmp_path / "out"
    stages: list[dict[str, Any]] = json.loads(said)["stages"]
    assert json.loads((out / "demo.json").read_text()) == stages
    memos = {Path(stage["file"]).name: stage for stage in stages if "text" in stage}
    assert set(memos) == {"memo-en.mp3", "memo-en-fan.mp3", "memo-es.mp3", "memo-es-fan.mp3"}
    assert {stage["voice_source"] for stage in memos.values()} == {"local_clone"}
    (streamed,) = [stage for stage in stages if "first_audio_seconds" in stage]
    # The first clause is heard before the whole memo is spoken.
    assert 0 < streamed["first_audio_seconds"] < streamed["seconds"]
    assert (out / "memos.png").read_bytes()[:4] == b"\x89PNG"
    with Transcriber(model_path=str(get_model_path("tiny-en")), model_arch=ModelArch.TINY) as listener:
        for name in ("memo-en.mp3", "memo-en-fan.mp3"):
            heard = heard_in(out / name, listener)
            assert word_error_rate(memos[name]["text"], heard) <= 0.3, (memos[name]["text"], heard)


async def test_a_demo_that_cannot_work_says_why_and_where_the_logs_are(tmp_path: Path) -> None:
    sample = tmp_path / "notes.mp3"
    sample.write_text("These are no sounds.")
    code, _, complaint = await run_demo(tmp_path, "--engine", "tone", "--sample", str(sample))
    assert code == 1
    assert "SAMPLE_MEDIA_UNKNOWN" in complaint
    assert str(tmp_path / "out/logs") in complaint
    assert (tmp_path / "out/logs/services.log").stat().st_size > 0
    assert "Traceback" not in complaint
