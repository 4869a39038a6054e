"""The voice pool under all that can go wrong at once: processes killed, answers of the provider lost.

Everything by a seed: `python -m tests.chaos.voice_pool --seeds 200`.
"""
