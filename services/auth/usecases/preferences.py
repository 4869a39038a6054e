"""Settings: what was never set reads as its default."""

from collections.abc import Mapping
from dataclasses import asdict

from services.auth.domain.preferences import Preferences, Setting, changes_of, with_changes
from services.auth.ports import Users


async def replace_settings(users: Users, user_id: str, given: Mapping[str, Setting]) -> Preferences:
    return await users.change_settings(user_id, asdict(with_changes(given)))


async def update_settings(users: Users, user_id: str, given: Mapping[str, Setting]) -> Preferences:
    return await users.change_settings(user_id, changes_of(given))
