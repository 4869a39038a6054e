"""JSON logs: fixed event names, ids as fields, nothing private."""

import logging
import sys

import structlog
from structlog.typing import EventDict, WrappedLogger

from services.kernel.tracing import trace_ids


def configure(level: str) -> None:
    """One JSON object a line on standard error; every line of a request carries its ids."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            _in_its_span,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )


def _in_its_span(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """The stage that a line was written in, not only the call."""
    return {**event, **trace_ids()}
