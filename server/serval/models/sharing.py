"""With whom models are shared."""

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from serval.audit.record import Action, record
from serval.auth.caller import Caller
from serval.changes import Changes
from serval.db.engine import Database, now
from serval.errors import BadRequest, NotFound
from serval.ids import new_id
from serval.models.access import SEE_SHARES, SHARE, Permission
from serval.models.queries import find_model, full_name, subject_of
from serval.models.tables import Model, Share
from serval.users.queries import find_account, is_account
from serval.users.tables import User


class Shared(NamedTuple):
    """A share, and whether it is new."""

    share: Share
    is_new: bool


class SharingService:
    """Reads and changes shares; a change is in force in this process at once, in others within a second."""

    def __init__(self, database: Database, changes: Changes, publish: Callable[[], Awaitable[None]]) -> None:
        """`publish`: brings a change to the routes of models into force."""
        self._database = database
        self._changes = changes
        self._publish = publish

    async def list_shares(self, caller: Caller, model: str) -> list[Share]:
        """Return with whom a model is shared, oldest first. Raises NotFound, NotPermitted."""
        async with self._database.read() as session:
            row, _ = await find_model(session, caller, model, SEE_SHARES)
            return list(await session.scalars(select(Share).where(Share.model_id == row.id).order_by(Share.id)))

    async def share(self, caller: Caller, model: str, user: str | None, permission: Permission) -> Shared:
        """Let a user (username, id or email address; None: all users) use a model; an existing share gets another
        permission.

        Raises NotFound, NotPermitted, BadRequest.
        """
        if user is None and permission != "predict":
            raise BadRequest(
                "`permission`: everybody may be given `predict`; share with each user who is to `manage` the model."
            )
        async with self._database.write() as session:
            row, _ = await find_model(session, caller, model, SHARE, to_change=True)
            receiver = None if user is None else await _find_receiver(session, row, user)
            shared = await _find_or_add_share(session, row, receiver, permission)
            shared.share.permission = permission
            self._record(session, caller, "model.share", shared.share)
        await self._publish()
        return shared

    async def unshare(self, caller: Caller, model: str, reference: str) -> None:
        """End a share, by its id or the username, id or email address of its user. Raises NotFound, NotPermitted."""
        async with self._database.write() as session:
            row, _ = await find_model(session, caller, model, SHARE, to_change=True)
            is_meant = Share.id == reference if reference.startswith("shr_") else Share.user.has(is_account(reference))
            share = await session.scalar(select(Share).where(is_meant, Share.model_id == row.id))
            if share is None:
                raise NotFound(
                    f"`{full_name(row)}` has no share `{reference[:100]}`: give the id of a share, or its user's name,"
                    " id or email address."
                )
            self._record(session, caller, "model.unshare", share)
            await session.delete(share)
        await self._publish()

    def _record(self, session: AsyncSession, caller: Caller, action: Action, share: Share) -> None:
        to: dict[str, Any] = (
            {"everybody": True} if share.user is None else {"user": share.user.username, "user_id": share.user.id}
        )
        record(session, caller, action, subject_of(share.model), permission=share.permission, **to)
        self._changes.record(session, "model", share.model_id)


async def _find_receiver(session: AsyncSession, model: Model, user: str) -> User:
    """Return who a model is to be shared with, by username, id or email address. Raises NotFound, BadRequest."""
    hint = " to share with; the name is the one before the `/` of their models"
    receiver = await find_account(session, user, hint=hint)
    if receiver.id == model.owner_id:
        raise BadRequest(f"`user`: `{full_name(model)}` is `{receiver.username}`'s own, who needs no share.")
    return receiver


async def _find_or_add_share(
    session: AsyncSession, model: Model, receiver: User | None, permission: Permission
) -> Shared:
    to = Share.user_id.is_(None) if receiver is None else Share.user_id == receiver.id
    share = await session.scalar(select(Share).where(Share.model_id == model.id, to))
    if share is not None:
        return Shared(share, is_new=False)
    share = Share(
        id=new_id("shr"),
        model_id=model.id,
        model=model,
        user_id=None if receiver is None else receiver.id,
        user=receiver,
        permission=permission,
        created_at=now(),
    )
    session.add(share)
    return Shared(share, is_new=True)
