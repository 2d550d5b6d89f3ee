"""Reads stored predictions: all of the models that a caller owns or manages, and the caller's own of other models."""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import ColumnElement, Select, select, true

from serval.auth.caller import Caller
from serval.db.engine import Database
from serval.errors import NotFound
from serval.history.tables import Prediction
from serval.http.pagination import in_utc
from serval.ids import first_id
from serval.models.access import SEE_PREDICTIONS, allows, check_key
from serval.models.queries import full_name, is_managed, is_of_key, is_visible
from serval.models.service import ModelService
from serval.models.tables import Model


class PredictionFilter(NamedTuple):
    """Which predictions are asked for."""

    model: str | None
    """Id, name or `owner/name`."""
    version: int | None
    since: datetime | None
    until: datetime | None
    before: str | None
    """The id of a prediction: only earlier ones."""
    limit: int


class HistoryService:
    """Answers what the history holds."""

    def __init__(self, database: Database, models: ModelService) -> None:
        self._database = database
        self._models = models

    async def list_predictions(self, caller: Caller, wanted: PredictionFilter) -> list[tuple[Prediction, str]]:
        """Return predictions with the names of their models, newest first. Raises NotFound, NotPermitted where one
        model is meant."""
        query = _predictions(caller).order_by(Prediction.id.desc()).limit(wanted.limit)
        query = query.where(
            await (self._of_models(caller) if wanted.model is None else self._of_model(caller, wanted.model))
        )
        if wanted.version is not None:
            query = query.where(Prediction.version_number == wanted.version)
        if wanted.since is not None:
            query = query.where(Prediction.id >= first_id("prd", in_utc(wanted.since)))
        if wanted.until is not None:
            query = query.where(Prediction.id < first_id("prd", in_utc(wanted.until)))
        if wanted.before is not None:
            query = query.where(Prediction.id < wanted.before)
        async with self._database.read() as session:
            return [(row[0], row[1]) for row in await session.execute(query)]

    async def _of_models(self, caller: Caller) -> ColumnElement[bool]:
        """Of predictions: those of all the models that a caller owns or manages."""
        if caller.is_admin:
            return true()
        async with self._database.read() as session:
            managed = list(
                await session.scalars(select(Model.id).where(Model.deleted_at.is_(None), is_managed(caller)))
            )
        is_own = Prediction.owner_id == caller.user_id
        return (
            is_own | Prediction.model_id.in_(managed) if managed else is_own
        )  # alone, it is read off an index in order

    async def _of_model(self, caller: Caller, reference: str) -> ColumnElement[bool]:
        """Of predictions: those of a model that a caller may see. Raises NotFound, NotPermitted."""
        model, access = await self._models.get_model(caller, reference)
        is_of_model = Prediction.model_id == model.id
        return is_of_model if allows(access, SEE_PREDICTIONS) else is_of_model & (Prediction.user_id == caller.user_id)

    async def get_prediction(self, caller: Caller, prediction_id: str) -> tuple[Prediction, str]:
        """Return one prediction with the name of its model. Raises NotFound, NotPermitted where the caller's key is for
        other models."""
        query = (
            select(Prediction, Model).join(Model, Model.id == Prediction.model_id).where(Prediction.id == prediction_id)
        )
        async with self._database.read() as session:
            found = (await session.execute(query.where(_is_visible(caller)))).one_or_none()
        if found is None:
            raise NotFound(f"There is no prediction `{prediction_id[:100]}`, or not any more.")
        prediction, model = found
        check_key(caller, model.id, full_name(model))
        return prediction, model.name


def _predictions(caller: Caller) -> Select[Prediction, str]:
    query = select(Prediction, Model.name).join(Model, Model.id == Prediction.model_id)
    return query.where(is_of_key(caller, Prediction.model_id))


def _is_visible(caller: Caller) -> ColumnElement[bool]:
    """Of predictions with their models: those that exist for a caller."""
    if caller.is_admin:
        return true()
    has_asked = (Prediction.user_id == caller.user_id) & is_visible(caller)
    return (Prediction.owner_id == caller.user_id) | (Model.deleted_at.is_(None) & (is_managed(caller) | has_asked))
