"""Finds the models and versions that exist for a caller, and checks that they may do what they ask.

The query itself leaves out what a caller may not see, so that it costs the same as what does not exist, and the answer
is the same.
"""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import ColumnElement, Select, case, exists, or_, select, true, union
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from serval.audit.record import AuditSubject
from serval.auth.caller import Caller
from serval.errors import Conflict, NotFound
from serval.http.request import MAX_VERSION_NUMBER
from serval.models.access import SEE, Access, Act, Permission, access_of, check_key, check_permitted
from serval.models.tables import Model, Share, Version


class VisibleModel(NamedTuple):
    """A model, and what the caller may do with it."""

    model: Model
    access: Access


class VisibleVersion(NamedTuple):
    """A version, and what the caller may do with its model."""

    version: Version
    access: Access


def shared_with(caller: Caller) -> ColumnElement[bool]:
    """Of shares: those that let a caller use a model."""
    return or_(Share.user_id == caller.user_id, Share.user_id.is_(None))


def is_visible(caller: Caller) -> ColumnElement[bool]:
    """Of models that are not deleted: those that exist for a caller. Only for a query that names the model: for all of
    them `find_models` is quicker."""
    if caller.is_admin:
        return true()
    return or_(Model.owner_id == caller.user_id, exists().where(Share.model_id == Model.id, shared_with(caller)))


def is_managed(caller: Caller) -> ColumnElement[bool]:
    """Of models that are not deleted: those of others that a caller may manage."""
    return exists().where(Share.model_id == Model.id, Share.user_id == caller.user_id, Share.permission == "manage")


def is_of_key(caller: Caller, model_id: InstrumentedAttribute[str]) -> ColumnElement[bool]:
    """Of things with a model: those that the caller's key is for."""
    return true() if caller.models is None else model_id.in_(sorted(caller.models))


async def find_models(session: AsyncSession, caller: Caller) -> list[VisibleModel]:
    """Return what exists for a caller and is what their key is for, by name."""
    query = (
        _with_shares(caller)
        .where(Model.deleted_at.is_(None), is_of_key(caller, Model.id))
        .order_by(Model.name, Model.id)
    )
    if not caller.is_admin:
        owned = select(Model.id).where(Model.owner_id == caller.user_id, Model.deleted_at.is_(None))
        query = query.where(Model.id.in_(union(owned, select(Share.model_id).where(shared_with(caller)))))
    return [_with_access(caller, model, shared) for model, shared in await session.execute(query)]


async def find_model(
    session: AsyncSession, caller: Caller, reference: str, act: Act = SEE, *, to_change: bool = False
) -> VisibleModel:
    """Return a model by its id, its name where it is the caller's own, or `owner/name`.

    `to_change`: others who want to change it wait for the end of this transaction. Raises NotFound, and NotPermitted
    where the caller can see the model and may not do this with it.
    """
    query = _with_shares(caller).where(_is_called(caller, reference), Model.deleted_at.is_(None), is_visible(caller))
    row = (await session.execute(query.with_for_update(of=Model) if to_change else query)).one_or_none()
    if row is None:
        raise unknown_model(reference, await others_called(session, caller, reference))
    return _permitted(caller, *row, act)


async def others_called(session: AsyncSession, caller: Caller, name: str) -> list[Model]:
    """Return models of others that the caller may use and that have this name."""
    query = select(Model).where(Model.name == name, Model.deleted_at.is_(None), is_visible(caller))
    return list(await session.scalars(query.where(is_of_key(caller, Model.id)).order_by(Model.id).limit(3)))


async def find_own_model(session: AsyncSession, caller: Caller, name: str) -> Model | None:
    """Return a model of the caller's own, locked for a change. Raises NotPermitted where their key is for others."""
    query = select(Model).where(Model.owner_id == caller.user_id, Model.name == name, Model.deleted_at.is_(None))
    model = await session.scalar(query.with_for_update(of=Model))
    if model is not None:
        check_key(caller, model.id, full_name(model))
    return model


async def find_deleted_models(session: AsyncSession, caller: Caller) -> list[VisibleModel]:
    """Return the deleted models that a caller may restore and that their key is for, the last deleted one first."""
    query = _with_shares(caller).where(_is_deleted_for(caller), is_of_key(caller, Model.id))
    rows = await session.execute(query.order_by(Model.deleted_at.desc(), Model.id.desc()))
    return [_with_access(caller, model, shared) for model, shared in rows]


async def find_deleted_or_not(session: AsyncSession, caller: Caller, reference: str, act: Act) -> VisibleModel:
    """Return a model to restore, by its id or name; one of the name that was deleted comes before one that was not.

    A deleted one exists for its owner and administrators alone. Raises NotFound, NotPermitted, and Conflict where
    several of the name were deleted.
    """
    is_called = _is_called(caller, reference)
    deleted = list(await session.scalars(select(Model.id).where(is_called, _is_deleted_for(caller)).order_by(Model.id)))
    if len(deleted) > 1:
        ids = ", ".join(f"`{model_id}`" for model_id in deleted[-5:])
        raise Conflict(f"{len(deleted)} deleted models have the name `{reference[:100]}`: name one by its id, {ids}.")
    is_meant = Model.id == deleted[0] if deleted else is_called & Model.deleted_at.is_(None) & is_visible(caller)
    row = (await session.execute(_with_shares(caller).where(is_meant).with_for_update(of=Model))).one_or_none()
    if row is None:
        if reference.startswith("mdl_"):
            raise unknown_model(reference)
        raise NotFound(
            f"You have no deleted model `{reference[:100]}`: `GET /api/v1/models?deleted=true` lists those that you may"
            " restore."
        )
    return _permitted(caller, *row, act)


def _is_deleted_for(caller: Caller) -> ColumnElement[bool]:
    """Of models: deleted ones that exist for a caller."""
    is_own = true() if caller.is_admin else Model.owner_id == caller.user_id
    return Model.deleted_at.is_not(None) & is_own


async def find_version(session: AsyncSession, model: Model, number: int) -> Version:
    """Return a version of a model. Raises NotFound."""
    query = select(Version).where(Version.model_id == model.id, Version.number == number)
    version = await session.scalar(query) if number <= MAX_VERSION_NUMBER else None
    if version is None:
        raise NotFound(f"`{model.name}` has no version {number}.")
    return version


def unknown_model(reference: str, others: Sequence[Model] = ()) -> NotFound:
    """`others`: models of other users with this name, which the caller may use."""
    if not others:
        return NotFound(f"There is no model `{reference[:100]}`.")
    named = ", ".join(f"`{full_name(model)}` (`{model.id}`)" for model in others)
    return NotFound(f"You have no model `{reference[:100]}` of your own, but may use {named}.")


def full_name(model: Model) -> str:
    """`owner/name`."""
    return f"{model.owner.username}/{model.name}"


def subject_of(model: Model) -> AuditSubject:
    """A model, for the audit trail."""
    return AuditSubject(model.id, full_name(model), model.owner_id)


def _with_shares(caller: Caller) -> Select[Model, Permission | None]:
    """Models, each with the most that a share gives the caller."""
    manage_first = case((Share.permission == "manage", 0), else_=1)
    shared = (
        select(Share.permission).where(Share.model_id == Model.id, shared_with(caller)).order_by(manage_first).limit(1)
    )
    return select(Model, shared.scalar_subquery())


def _is_called(caller: Caller, reference: str) -> ColumnElement[bool]:
    owner, slash, name = reference.rpartition("/")
    if slash:
        return (Model.name == name) & Model.owner.has(username=owner)
    if reference.startswith("mdl_"):
        return Model.id == reference
    return (Model.name == reference) & (Model.owner_id == caller.user_id)


def _permitted(caller: Caller, model: Model, shared: Permission | None, act: Act) -> VisibleModel:
    """Raises NotPermitted where the caller may not do this with the model."""
    visible = _with_access(caller, model, shared)
    check_permitted(caller, model.id, full_name(model), visible.access, act)
    return visible


def _with_access(caller: Caller, model: Model, shared: Permission | None) -> VisibleModel:
    access = access_of(caller, model.owner_id, [] if shared is None else [shared])
    if access is None:
        raise unknown_model(model.id)
    return VisibleModel(model, access)
