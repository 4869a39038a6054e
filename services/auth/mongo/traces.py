"""What this service keeps about a user: taken out, or left without the user where it has to stay."""

from dataclasses import dataclass
from datetime import datetime

from services.auth.domain.codes import CodeState, CodeUse
from services.auth.domain.credits import entry_id_of, filed_under
from services.auth.domain.erasure import Erased, Subject
from services.auth.mongo.collection import Collection, Document
from services.auth.mongo.entries import month_id
from services.kernel.answers import KeptAnswers

_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class AccountTraces:
    """The account itself: afterwards nobody can sign in, and the names are free again."""

    users: Collection
    codes: Collection
    sessions: Collection
    api_keys: Collection

    async def erase(self, subject: Subject, now: datetime) -> Erased:
        user = await self.users.find_one(subject.user_id)
        if user is not None:
            await self._keep_code_used(user, now)
        # Whatever they are now: who made codes may have ceased to administer since.
        await self.codes.update_all(
            {"made_by": subject.user_id}, {"$set": {"made_by": f"erased:{subject.erasure_id}"}}
        )
        theirs = {"user_id": subject.user_id}
        counts = {
            "accounts": int(await self.users.delete({"_id": subject.user_id})),
            "sessions": await self.sessions.delete_all(theirs),
            "api_keys": await self.api_keys.delete_all(theirs),
            "codes": await self.codes.update_all(
                {"used_by": subject.user_id}, {"$unset": {"used_by": "", "claimed_by": ""}}
            ),
        }
        return Erased(counts)

    async def _keep_code_used(self, user: Document, now: datetime) -> None:
        """While the user exists, its code cannot make another one; from now on the mark must do that."""
        unmarked = {"_id": user.get("activation_code"), "state": {"$ne": CodeState.USED.value}}
        use = {"used_by": user["_id"], "used_for": CodeUse.REGISTRATION.value, "used_at": now}
        await self.codes.update(unmarked, {"$set": {"state": CodeState.USED.value, **use}})


@dataclass(frozen=True, slots=True)
class CreditTraces:
    """The ledger: amounts stay, for the accounts to add up, under a pseudonym that leads to nobody."""

    months: Collection
    entries: Collection

    async def erase(self, subject: Subject, now: datetime) -> Erased:
        theirs = {"user_id": subject.user_id}
        months = await self.months.find(theirs, _AT_ONCE)
        for month in months:
            await self._move_month(month, subject.pseudonym)
        # What is open under the pseudonym ends as it would have ended.
        unplanned = {"user_id": subject.pseudonym, "sweep_at": {"$exists": False}}
        await self.months.update_all(unplanned, {"$set": {"sweep_at": now}})
        entries = await self.entries.find(theirs, _AT_ONCE)
        for entry in entries:
            await self._move_entry(entry, subject.pseudonym)
        done = len(months) < _AT_ONCE and len(entries) < _AT_ONCE
        return Erased({"months_anonymised": len(months), "entries_anonymised": len(entries)}, done)

    async def _move_month(self, month: Document, pseudonym: str) -> None:
        """Copied, then removed only if it is still what was copied: no credit is lost or doubled."""
        found: Document | None = month
        while found is not None:
            revision = found["revision"]
            copy = {**found, "_id": month_id(pseudonym, found["period"]), "user_id": pseudonym}
            # Nobody sweeps the copy while the original may still change.
            copy.pop("sweep_at", None)
            copy["entries"] = {name: _without_reason(fields) for name, fields in found["entries"].items()}
            await self.months.replace({"_id": copy["_id"]}, copy)
            if await self.months.delete({"_id": month["_id"], "revision": revision}):
                return
            found = await self.months.find_one(month["_id"])

    async def _move_entry(self, entry: Document, pseudonym: str) -> None:
        filed = filed_under(pseudonym, entry_id_of(entry["_id"]))
        moved = _without_reason({**entry, "_id": filed, "user_id": pseudonym})
        await self.entries.replace({"_id": filed}, moved)
        if filed != entry["_id"]:
            await self.entries.delete({"_id": entry["_id"]})


def _without_reason(fields: Document) -> Document:
    """What an administrator wrote may name the user."""
    return {name: value for name, value in fields.items() if name != "reason"}


@dataclass(frozen=True, slots=True)
class AuditTraces:
    """The audit log: what was done stays, without whom it was done to or by.

    The one change that entries ever see; the id in their place is that of the erasure.
    """

    entries: Collection

    async def erase(self, subject: Subject, now: datetime) -> Erased:
        nobody = f"erased:{subject.erasure_id}"
        about = await self.entries.update_all(
            {"subject": subject.user_id}, {"$set": {"subject": nobody}, "$unset": {"detail.reason": ""}}
        )
        by = await self.entries.update_all({"actor": subject.user_id}, {"$set": {"actor": nobody}})
        return Erased({"entries_anonymised": about + by})


@dataclass(frozen=True, slots=True)
class AnswerTraces:
    """What this service answered the user under an Idempotency-Key, and could answer again."""

    answers: KeptAnswers

    async def erase(self, subject: Subject, now: datetime) -> Erased:
        return Erased({"answers": await self.answers.forget(subject.user_id)})
