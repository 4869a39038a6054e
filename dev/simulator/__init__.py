"""ElevenLabs and Gemini as far as New Visions uses them: the same limits, the same errors, faults on demand."""
