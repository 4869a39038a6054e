"""Protobuf in, protobuf out."""

from services.perform.rpc.perform import PerformServicer
from services.perform.rpc.speech import SpeechServicer

__all__ = ["PerformServicer", "SpeechServicer"]
