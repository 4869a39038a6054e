"""Our errors as gRPC statuses, and back: a transport's code for each kind, and an ApiError that the gateway
unpacks."""

from collections.abc import Mapping
from typing import Any, Final

import grpc
from google.protobuf import duration_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from newvisions.edge.v1 import edge_pb2
from services.kernel.caller import caller
from services.kernel.errors import Kind, ServiceError

STATUS: Final = {
    Kind.INVALID: grpc.StatusCode.INVALID_ARGUMENT,
    Kind.UNAUTHENTICATED: grpc.StatusCode.UNAUTHENTICATED,
    Kind.UNPAID: grpc.StatusCode.FAILED_PRECONDITION,
    Kind.DENIED: grpc.StatusCode.PERMISSION_DENIED,
    Kind.NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    Kind.CONFLICT: grpc.StatusCode.ALREADY_EXISTS,
    Kind.TOO_LARGE: grpc.StatusCode.INVALID_ARGUMENT,
    Kind.WRONG_MEDIA: grpc.StatusCode.INVALID_ARGUMENT,
    Kind.RANGE: grpc.StatusCode.OUT_OF_RANGE,
    Kind.REFUSED: grpc.StatusCode.FAILED_PRECONDITION,
    Kind.EXHAUSTED: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Kind.INTERNAL: grpc.StatusCode.INTERNAL,
    Kind.UPSTREAM: grpc.StatusCode.UNAVAILABLE,
    Kind.UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
    Kind.DEADLINE: grpc.StatusCode.DEADLINE_EXCEEDED,
}


class InvalidRequest(ServiceError):
    kind, reason = Kind.INVALID, "INVALID_REQUEST"
    action = "Correct the request and send it again."


class Deadline(ServiceError):
    kind, reason = Kind.DEADLINE, "DEADLINE_EXCEEDED"
    action = "Try again; send the same Idempotency-Key to get the same result."


class Crashed(ServiceError):
    kind, reason = Kind.INTERNAL, "INTERNAL"
    action = "Try again; if it goes on, report the request_id."


def to_status(error: ServiceError) -> Any:
    """Pack our error so that the gateway can unpack it: the ApiError is always the last detail."""
    http_status = error.kind.value
    status = status_pb2.Status(code=STATUS[error.kind].value[0], message=error.message)
    if error.retry_after_seconds:
        retry = error_details_pb2.RetryInfo(
            retry_delay=duration_pb2.Duration(seconds=error.retry_after_seconds)
        )
        status.details.add().Pack(retry)
    status.details.add().Pack(
        edge_pb2.ApiError(
            error=error.reason,
            message=error.message,
            action=error.action,
            detail=error.message,
            request_id=caller().request_id,
            http_status=http_status,
        )
    )
    packed = rpc_status.to_status(status)
    return packed._replace(trailing_metadata=(*packed.trailing_metadata, *error.headers))


def api_error(failure: grpc.aio.AioRpcError) -> tuple[edge_pb2.ApiError | None, int]:
    """Our own error inside a peer's failure, if it is one, with its Retry-After in seconds."""
    found, retry = None, 0
    packed: Mapping[str, Any] = dict(failure.trailing_metadata() or ())
    raw = packed.get("grpc-status-details-bin")
    if raw is None:
        return None, 0
    for detail in status_pb2.Status.FromString(raw).details:
        if detail.Is(edge_pb2.ApiError.DESCRIPTOR):
            found = edge_pb2.ApiError()
            detail.Unpack(found)
        elif detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR):
            info = error_details_pb2.RetryInfo()
            detail.Unpack(info)
            retry = info.retry_delay.seconds
    return found, retry
