"""The service's calls: protobuf in, one use case, protobuf out; a file for each proto service."""

from services.auth.rpc.auth import AuthServicer, UseCases

__all__ = ["AuthServicer", "UseCases"]
