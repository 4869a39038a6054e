"""The indexes that the services make when they start, by service and collection; without those of ids."""

from collections.abc import Mapping
from typing import Final

EXPECTED: Final[Mapping[str, Mapping[str, frozenset[str]]]] = {
    "auth": {
        "activation_codes": frozenset({"batch", "made_by", "newest_first", "used_by"}),
        "answers": frozenset({"expires", "user"}),
        "api_keys": frozenset({"digest", "ended", "place"}),
        "audit_log": frozenset({"actor", "newest_first", "oldest_first", "subject"}),
        "credit_entries": frozenset({"oldest_first", "statement"}),
        "credit_months": frozenset({"period", "sweep", "user"}),
        "erasures": frozenset({"due", "reference"}),
        "sessions": frozenset({"ended", "revoked", "user"}),
        "users": frozenset({"code", "email", "newest_first", "seen", "username"}),
    },
    "voice": {
        "answers": frozenset({"expires", "user"}),
        "voices": frozenset(
            {
                "voices_at_provider",
                "voices_by_clone",
                "voices_by_newest_clone",
                "voices_by_newest_standby",
                "voices_by_standby",
                "voices_to_sweep",
            }
        ),
    },
    "perform": {
        "performances": frozenset(
            {"due_at_1", "expires_at_1", "place_1", "user_id_1_key_1", "user_id_1_place_1"}
        ),
        "speech_keys": frozenset({"expires_at_1", "speech_id_1"}),
    },
}
