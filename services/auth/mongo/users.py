"""Users. Unique indexes decide about names, emails and activation codes."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pymongo import DESCENDING, IndexModel
from pymongo.errors import DuplicateKeyError

from services.auth.domain.accounts import User, name_key
from services.auth.domain.errors import ActivationCodeInvalid, EmailTaken, UsernameTaken
from services.auth.domain.preferences import SETTINGS, Preferences, Setting
from services.auth.mongo.collection import Collection, Document
from services.kernel.caller import UserNotFound


class MongoUsers:
    def __init__(self, users: Collection) -> None:
        self._users = users

    async def prepare(self) -> None:
        await self._users.create_indexes(
            IndexModel("username_key", unique=True, name="username"),
            IndexModel("email_key", unique=True, name="email"),
            IndexModel("activation_code", unique=True, sparse=True, name="code"),
            IndexModel([("created_at", DESCENDING)], name="newest"),
        )

    async def add(self, user: User) -> None:
        try:
            await self._users.insert(_document(user))
        except DuplicateKeyError as error:
            await self._explain(user, error)

    async def _explain(self, user: User, duplicate: DuplicateKeyError) -> None:
        """Ask the store which value was taken: the wording of a duplicate differs between servers."""
        if user.activation_code and await self.made_by(user.activation_code):
            raise ActivationCodeInvalid("The activation code is not valid.") from duplicate
        if await self._users.find_by("username_key", name_key(user.username)):
            raise UsernameTaken("This username is taken.") from duplicate
        raise EmailTaken("This email has an account already.") from duplicate

    async def get(self, user_id: str) -> User:
        found = await self._users.find_one(user_id)
        if found is None:
            raise UserNotFound("There is no such user.")
        return _user(found)

    async def named(self, name: str) -> User | None:
        # A username never contains an @, an email always does.
        key = "email_key" if "@" in name else "username_key"
        found = await self._users.find_by(key, name_key(name))
        return _user(found) if found else None

    async def made_by(self, code: str) -> User | None:
        found = await self._users.find_by("activation_code", code)
        return _user(found) if found else None

    async def newest(self, until: datetime, limit: int) -> list[User]:
        found = await self._users.find(
            {"created_at": {"$lte": until}}, limit, sort=[("created_at", DESCENDING)]
        )
        return [_user(each) for each in found]

    async def replace_hash(self, user_id: str, old: str, new: str) -> None:
        await self._users.update({"_id": user_id, "password_hash": old}, {"$set": {"password_hash": new}})

    async def change_settings(self, user_id: str, changes: Mapping[str, Setting]) -> Preferences:
        fields = {f"settings.{name}": value for name, value in changes.items()}
        if fields:
            await self._users.update({"_id": user_id}, {"$set": fields})
        return (await self.get(user_id)).preferences


def _document(user: User) -> Document:
    document: Document = {
        "_id": user.user_id,
        "username": user.username,
        "username_key": name_key(user.username),
        "email": user.email,
        "email_key": name_key(user.email),
        "password_hash": user.password_hash,
        "created_at": user.created_at,
        "roles": list(user.roles),
        "monthly_limit": user.monthly_limit,
        "disabled": user.disabled,
        "settings": {name: getattr(user.preferences, name) for name in SETTINGS},
    }
    # Absent, not null: the index on it is sparse.
    if user.activation_code is not None:
        document["activation_code"] = user.activation_code
    return document


def _user(found: Document) -> User:
    kept: dict[str, Any] = found["settings"]
    return User(
        user_id=found["_id"],
        username=found["username"],
        email=found["email"],
        password_hash=found["password_hash"],
        created_at=found["created_at"],
        roles=tuple(found["roles"]),
        monthly_limit=found["monthly_limit"],
        disabled=found["disabled"],
        activation_code=found.get("activation_code"),
        preferences=Preferences(**{name: kept[name] for name in SETTINGS if name in kept}),
    )
