"""Marks a user as erased for as long as what began before may still write."""

from typing import Final

# Longer than any call may take.
MARKED_SECONDS: Final = 60


def mark_of(user_id: str) -> str:
    return f"content:erased:{user_id}"
