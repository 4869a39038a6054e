"""Measure the model's own voices: `python -m services.synthesis.engines.local.describe_voices`.

For maintainers, after a change of the styles, the encoder or the pitch tracker. Writes
data/voices.npz: each voice's speaker embedding and pitch habit, from one English reading.
"""

from pathlib import Path
from typing import Final

import numpy as np

from services.synthesis.engines.local.kokoro import Kokoro, Pitch
from services.synthesis.engines.local.reading import phonemes_of
from services.synthesis.engines.local.speaker import SpeakerEncoder
from services.synthesis.engines.local.spectrum import SAMPLE_RATE, Floats, analyse
from services.synthesis.engines.local.styles import StyleVectors
from services.synthesis.engines.local.voice import pitch_habit

_DATA: Final = Path(__file__).parent / "data"
_READING: Final = (
    "When the sunlight strikes raindrops in the air, they act as a prism and form a rainbow.",
    "Please call Stella, and ask her to bring these things with her from the store.",
    "I left my keys on the kitchen table this morning, and I only noticed on the train.",
)


def main(threads: int = 2) -> None:
    styles, kokoro, encoder = StyleVectors(), Kokoro(threads), SpeakerEncoder(threads)
    embeddings, habits = [], []
    for name in styles.names:
        spoken: list[Floats] = []
        for sentence in _READING:
            phonemes = phonemes_of(sentence, "en")
            style = styles.style(name, name, len(phonemes))
            spoken.append(kokoro.speak(phonemes, style, speed=1.0, pitch=Pitch()))
        speech = np.concatenate(spoken)
        habit = pitch_habit(analyse(speech))
        embeddings.append(encoder.embed(speech, SAMPLE_RATE))
        habits.append((habit.mean, habit.spread))
    np.savez_compressed(
        _DATA / "voices.npz",
        names=np.array(styles.names),
        embeddings=np.array(embeddings, dtype=np.float16),
        pitch=np.array(habits, dtype=np.float32),
    )


if __name__ == "__main__":
    main()
