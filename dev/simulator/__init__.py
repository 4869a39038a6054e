"""ElevenLabs and Gemini as far as New Visions uses them: same limits, same errors, faults on demand."""
