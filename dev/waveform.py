"""Draws audio files as waveforms, one below the other."""

from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
from PIL import Image, ImageDraw

_WIDTH, _HEIGHT, _MARGIN = 1200, 140, 24
_INK, _PAPER, _QUIET = (40, 70, 140), (255, 255, 255), (120, 120, 120)


def draw(files: Sequence[Path], picture: Path) -> None:
    """Write a PNG; all rows share one time scale."""
    sounds = [(file, *_decode(file)) for file in files]
    longest = max(len(samples) / rate for _, samples, rate in sounds)
    image = Image.new("RGB", (_WIDTH, (_HEIGHT + _MARGIN) * len(sounds)), _PAPER)
    pen = ImageDraw.Draw(image)
    for row, (file, samples, rate) in enumerate(sounds):
        top = row * (_HEIGHT + _MARGIN)
        pen.text((8, top + 6), f"{file.name}   {len(samples) / rate:.1f} s", fill=_QUIET)
        middle = top + _MARGIN + _HEIGHT // 2
        columns = np.array_split(np.abs(samples), max(1, round(_WIDTH * len(samples) / rate / longest)))
        for x, column in enumerate(columns):
            reach = float(column.max(initial=0)) * _HEIGHT / 2
            pen.line((x, middle - reach, x, middle + reach), fill=_INK)
    image.save(picture)


def _decode(file: Path) -> tuple[np.ndarray[tuple[int], np.dtype[np.float32]], int]:
    with av.open(str(file)) as container:
        stream = container.streams.audio[0]
        resampler = av.AudioResampler(format="flt", layout="mono", rate=stream.rate)
        frames = [out for frame in container.decode(stream) for out in resampler.resample(frame)]
    return np.concatenate([frame.to_ndarray()[0] for frame in frames]), int(stream.rate)
