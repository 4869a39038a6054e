"""Voices that are kept at ElevenLabs, and speak there.

Switched on by the name `elevenlabs` in SYNTHESIS_ENGINES and a key file in SYNTHESIS_ELEVENLABS_API_KEY_FILE.
"""

from services.synthesis.engines.elevenlabs.engine import ElevenLabsEngine
from services.synthesis.engines.elevenlabs.refusals import VoicesMadeElsewhere
from services.synthesis.engines.elevenlabs.settings import ElevenLabsSettings

__all__ = ["ElevenLabsEngine", "ElevenLabsSettings", "VoicesMadeElsewhere"]
