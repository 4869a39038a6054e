"""Kyutai's Pocket TTS: seven languages in a clone of a sample, on a processor, without a key.

Optional: switched on by the name `pocket` in SYNTHESIS_ENGINES, where the package `pocket-tts` is installed.
"""

from services.synthesis.engines.pocket.engine import PocketEngine
from services.synthesis.engines.pocket.settings import PocketSettings

__all__ = ["PocketEngine", "PocketSettings"]
