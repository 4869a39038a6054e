"""Speech made of tones, and what a player hears of the audio that is made from it."""

import io
from itertools import pairwise

import av
import numpy as np

from services.synthesis.domain import Format, Labels, Medium
from services.synthesis.memo import Memo
from services.synthesis.mix import RATE, Backdrop

ENGINE_RATE = 24_000
LABELS = Labels("My voice memo · 日記", "rec-7")
NOTHING = Backdrop(np.zeros(1, np.float32), 0)


def tone(seconds, dbfs=-20.0, hz=1000.0):
    times = np.arange(round(seconds * ENGINE_RATE)) / ENGINE_RATE
    return (10 ** (dbfs / 20) * np.sqrt(2) * np.sin(2 * np.pi * hz * times) * 32767).astype("<i2")


def silence(seconds):
    return np.zeros(round(seconds * ENGINE_RATE), "<i2")


def speech(*parts):
    return np.concatenate(parts).tobytes()


PHRASE = speech(silence(0.2), tone(0.9, -26), silence(0.3), tone(0.7, -23, 300), tone(0.3, -40, 2000))


def made(pcm, backdrop=NOTHING, cuts=(), medium=None):
    """The whole audio and its summary, with the PCM handed over in pieces cut at `cuts`."""
    memo = Memo(ENGINE_RATE, LABELS, backdrop, medium)
    edges = [0, *sorted(cuts), len(pcm)]
    audio = b"".join(memo.add(pcm[a:b]) for a, b in pairwise(edges))
    last = memo.finish()
    return audio + last.audio, last.summary


def heard(audio, medium=None):
    """Samples from -1 to 1 and the tags. Opus always plays at 48 kHz."""
    if medium is not None and medium.format is Format.PCM:
        return np.frombuffer(audio, "<i2") / 32768, {}
    with av.open(io.BytesIO(audio)) as opened:
        stream = opened.streams.audio[0]
        frames = list(opened.decode(audio=0))
        samples = np.concatenate([frame.to_ndarray().reshape(-1) for frame in frames]).astype(np.float64)
        if frames[0].format.name.startswith("s16"):
            samples /= 32768
        return samples, {**opened.metadata, **stream.metadata}


def playing_rate(medium):
    return 48_000 if medium.format is Format.OPUS else medium.sample_rate


def between(samples, start, end, rate=RATE):
    return samples[round(start * rate) : round(end * rate)]


def dbfs(samples):
    return 10 * np.log10(np.mean(np.square(samples, dtype=np.float64)) + 1e-12)


def tone_dbfs(samples, hz=1000.0, rate=RATE):
    """The level of one tone alone, whatever else sounds."""
    turns = np.exp(-2j * np.pi * hz * np.arange(len(samples)) / rate)
    window = np.hanning(len(samples))
    return 20 * np.log10(np.abs((samples * window * turns).sum()) / window.sum() * np.sqrt(2))


# Every format at its own rate, and those whose frames look different at a low one.
MEDIA = [
    *(Medium.wanted(name, 0) for name in Format),
    *(Medium.wanted(name, 16_000) for name in (Format.MP3, Format.OPUS, Format.AAC, Format.FLAC)),
]
