"""Users. Unique indexes decide about names, emails and activation codes."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from pymongo import IndexModel
from pymongo.errors import DuplicateKeyError

from services.auth.domain.accounts import ROLE_ADMIN, User, name_key
from services.auth.domain.administration import UserChanges
from services.auth.domain.errors import ActivationCodeInvalid, EmailTaken, UsernameTaken
from services.auth.domain.paging import Place
from services.auth.domain.preferences import SETTINGS, Preferences, Setting
from services.auth.mongo.collection import Collection, Document
from services.auth.mongo.paging import index_of, later_than, order_of
from services.kernel.caller import UserNotFound

# The range is bounded on both sides: an open end would read documents without the field.
_LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


class MongoUsers:
    def __init__(self, users: Collection) -> None:
        self._users = users

    async def prepare(self) -> None:
        await self._users.create_indexes(
            IndexModel("username_key", unique=True, name="username"),
            IndexModel("email_key", unique=True, name="email"),
            IndexModel("activation_code", unique=True, sparse=True, name="code"),
            index_of("created_at", "newest_first"),
            IndexModel("seen_at", name="seen"),
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

    async def note_seen(self, user_id: str, moment: datetime) -> None:
        await self._users.update({"_id": user_id}, {"$set": {"seen_at": moment}})

    async def unseen(self, since: datetime, limit: int) -> list[User]:
        found = await self._users.find({"seen_at": {"$gte": _LONG_AGO, "$lt": since}}, limit)
        return [_user(each) for each in found]

    async def page(self, after: Place | None, limit: int) -> list[User]:
        found = await self._users.find(later_than("created_at", after), limit, sort=order_of("created_at"))
        return [_user(each) for each in found]

    async def administrators(self, limit: int) -> list[User]:
        # Asked only when an administrator ceases to be one: too rarely for an index.
        found = await self._users.find({"roles": ROLE_ADMIN, "disabled": False}, limit)
        return [_user(each) for each in found]

    async def change(self, user_id: str, changes: UserChanges) -> None:
        if not await self._users.update({"_id": user_id}, {"$set": changes.fields}):
            raise UserNotFound("There is no such user.")

    async def replace_hash(self, user_id: str, old: str, new: str) -> None:
        await self._users.update({"_id": user_id, "password_hash": old}, {"$set": {"password_hash": new}})

    async def reset_password(self, user_id: str, new: str, code: str, now: datetime) -> bool:
        # The codes stay with their user: they are few, each was given out by hand.
        return await self._users.update(
            {"_id": user_id, "reset_codes": {"$ne": code}},
            {
                "$set": {"password_hash": new, "signed_out_at": now, "password_reset_at": now},
                "$push": {"reset_codes": code},
            },
        )

    async def sign_out(self, user_id: str, now: datetime) -> None:
        await self._users.update({"_id": user_id}, {"$set": {"signed_out_at": now}})

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
        "seen_at": user.seen_at or user.created_at,
        "roles": list(user.roles),
        "plan": user.plan,
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
        plan=found.get("plan"),
        monthly_limit=found["monthly_limit"],
        disabled=found["disabled"],
        signed_out_at=found.get("signed_out_at"),
        password_reset_at=found.get("password_reset_at"),
        seen_at=found.get("seen_at"),
        activation_code=found.get("activation_code"),
        preferences=Preferences(**{name: kept[name] for name in SETTINGS if name in kept}),
    )
