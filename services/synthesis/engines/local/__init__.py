"""The embedded voice engine: an adapted voice from the packages alone, without a key or a network."""

from services.synthesis.engines.local.engine import LocalEngine

__all__ = ["LocalEngine"]
