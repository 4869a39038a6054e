"""Performances as documents: each field is named both ways, so that newer fields do not break older code."""

from datetime import datetime
from typing import Any
from uuid import UUID

from services.perform.domain import Charge, Failure, Performance, Phase, Recording, State

# No client can send a key that begins so.
_NO_KEY = "\n"
_TWIN = "\n="


def document_of(performance: Performance) -> dict[str, Any]:
    """A new performance. Its phase says, before any step runs, that every step may have begun: a crash
    from then on undoes all of them, so no step needs a write of its own."""
    return {
        "_id": performance.performance_id,
        "user_id": performance.user_id,
        "key": key_of(performance),
        "fingerprint": performance.fingerprint,
        "created_at": performance.created_at,
        "state": performance.state,
        "phase": performance.phase,
        "due_at": performance.due_at,
    }


def performance_in(document: dict[str, Any]) -> Performance:
    recording, charge, failure = (document.get(name) for name in ("recording", "charge", "failure"))
    key: str = document["key"]
    return Performance(
        performance_id=document["_id"],
        user_id=document["user_id"],
        key="" if key.startswith(_NO_KEY) else key,
        fingerprint=document["fingerprint"],
        created_at=document["created_at"],
        state=State(document["state"]),
        phase=Phase(document["phase"]),
        due_at=document.get("due_at"),
        recording=None if recording is None else recording_in(document),
        charge=None if charge is None else _charge_in(charge),
        failure=None if failure is None else _failure_in(failure),
        ended_at=document.get("ended_at"),
    )


def recording_of(recording: Recording) -> dict[str, Any]:
    return {
        "title": recording.title,
        "date": recording.date,
        "created_at": recording.created_at,
        "duration_seconds": recording.duration_seconds,
        "size_bytes": recording.size_bytes,
        "routine_type": recording.routine_type,
        "text": recording.text,
        "voice_source": recording.voice_source,
        "sample_hash": recording.sample_hash,
        "leased_at": recording.leased_at,
        "engine": recording.engine,
        "model": recording.model,
        "waveform": list(recording.waveform),
        "filename": recording.filename,
    }


def recording_in(document: dict[str, Any]) -> Recording:
    kept: dict[str, Any] = document["recording"]
    created_at: datetime = kept["created_at"]
    return Recording(
        recording_id=document["_id"],
        user_id=document["user_id"],
        title=kept["title"],
        date=kept["date"],
        created_at=created_at,
        duration_seconds=kept["duration_seconds"],
        size_bytes=kept["size_bytes"],
        routine_type=kept["routine_type"],
        text=kept["text"],
        voice_source=kept["voice_source"],
        sample_hash=kept["sample_hash"],
        leased_at=kept["leased_at"],
        engine=kept["engine"],
        # Recordings of older releases have none; what they cost is settled.
        model=kept.get("model", kept["engine"]),
        waveform=tuple(kept["waveform"]),
        filename=kept["filename"],
    )


def charge_of(charge: Charge) -> dict[str, Any]:
    return {
        "credits": charge.credits,
        "char_count": charge.char_count,
        "monthly_limit": charge.monthly_limit,
    }


def _charge_in(found: dict[str, Any]) -> Charge:
    return Charge(found["credits"], found["char_count"], found["monthly_limit"])


def failure_of(failure: Failure) -> dict[str, Any]:
    return {
        "kind": failure.kind,
        "reason": failure.reason,
        "message": failure.message,
        "action": failure.action,
        "retry_after_seconds": failure.retry_after_seconds,
    }


def _failure_in(found: dict[str, Any]) -> Failure:
    return Failure(
        found["kind"], found["reason"], found["message"], found["action"], found["retry_after_seconds"]
    )


def key_of(performance: Performance) -> str:
    """Without a key, the request itself is the key until its caller has the answer: a phone that lost its
    connection asks the same again, and must not pay twice."""
    return performance.key or f"{_TWIN}{performance.fingerprint}"


def no_key(performance_id: UUID) -> str:
    """The index on keys is unique, so those that give their key up need one of their own."""
    return f"{_NO_KEY}{performance_id}"
