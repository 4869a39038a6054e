"""What a listener hears in a memo."""

import io

import av
import numpy as np

from services.synthesis.engines.tone import STEP_HZ, heard_hz


def listen(memo: bytes) -> tuple[bytes, int]:
    """The samples of an audio file, 16-bit mono, and their rate."""
    with av.open(io.BytesIO(memo)) as container:
        rate = int(container.streams.audio[0].rate)
        resampler = av.AudioResampler("s16", "mono", rate)
        parts = [part for frame in container.decode(audio=0) for part in resampler.resample(frame)]
    return b"".join(part.to_ndarray().tobytes() for part in parts), rate


def seconds(memo: bytes) -> float:
    pcm, rate = listen(memo)
    return len(pcm) / 2 / rate


def marker(memo: bytes) -> int:
    """The tone that the test engine gave this voice."""
    return round(heard_hz(*listen(memo)) / STEP_HZ) * STEP_HZ


def beside_the_tone(memo: bytes) -> float:
    """How much of the sound is something else than its strongest tone: 0 to 1."""
    pcm, _ = listen(memo)
    power = np.abs(np.fft.rfft(np.frombuffer(pcm, "<i2") * np.hanning(len(pcm) // 2))) ** 2
    peak = int(power.argmax())
    return 1 - float(power[max(0, peak - 20) : peak + 21].sum() / power.sum())
