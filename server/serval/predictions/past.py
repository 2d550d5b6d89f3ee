"""Reads back what was predicted: the predictions of the models that a caller owns."""

from datetime import UTC, datetime
from typing import NamedTuple

from sqlalchemy import Select, select

from serval.auth.caller import Caller
from serval.db.engine import Database
from serval.errors import NotFound
from serval.ids import first_id
from serval.models.service import ModelService
from serval.models.tables import Model
from serval.predictions.tables import Prediction


class Wanted(NamedTuple):
    """Which predictions are asked for."""

    model: str | None
    """Id, name or `owner/name`."""
    version: int | None
    since: datetime | None
    until: datetime | None
    before: str | None
    """The id of a prediction: only earlier ones."""
    limit: int


class PastPredictions:
    """Answers what the history holds."""

    def __init__(self, database: Database, models: ModelService) -> None:
        self._database = database
        self._models = models

    async def list_predictions(self, caller: Caller, wanted: Wanted) -> list[tuple[Prediction, str]]:
        """Return predictions with the names of their models, newest first. Raises NotFound where there is no such model."""
        query = _visible(caller).order_by(Prediction.id.desc()).limit(wanted.limit)
        if wanted.model is not None:
            query = query.where(Prediction.model_id == (await self._models.get_model(caller, wanted.model)).id)
        if wanted.version is not None:
            query = query.where(Prediction.version_number == wanted.version)
        if wanted.since is not None:
            query = query.where(Prediction.id >= first_id("prd", _utc(wanted.since)))
        if wanted.until is not None:
            query = query.where(Prediction.id < first_id("prd", _utc(wanted.until)))
        if wanted.before is not None:
            query = query.where(Prediction.id < wanted.before)
        async with self._database.read() as session:
            return [(row[0], row[1]) for row in await session.execute(query)]

    async def get_prediction(self, caller: Caller, prediction_id: str) -> tuple[Prediction, str]:
        """Return one prediction with the name of its model. Raises NotFound."""
        async with self._database.read() as session:
            found = (await session.execute(_visible(caller).where(Prediction.id == prediction_id))).one_or_none()
        if found is None:
            raise NotFound(f"There is no prediction `{prediction_id[:100]}`, or not any more.")
        return found[0], found[1]


def _visible(caller: Caller) -> Select[Prediction, str]:
    query = select(Prediction, Model.name).join(Model, Model.id == Prediction.model_id)
    return query if caller.is_admin else query.where(Prediction.owner_id == caller.user_id)


def _utc(at: datetime) -> datetime:
    return at if at.tzinfo else at.replace(tzinfo=UTC)
