"""HTTP for predictions that were answered."""

from typing import Annotated

from litestar import Controller, get
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from serval.auth.caller import Caller
from serval.errors import BadRequest, NotFound
from serval.history.schemas import StoredPrediction, StoredPredictionList
from serval.history.service import HistoryService, PredictionFilter
from serval.http.openapi import KEYED, keyed_responses
from serval.http.pagination import Limit, Since, Until, cursor_of, page
from serval.http.request import MAX_VERSION_NUMBER, PLAIN_TEXT, Name

OfModel = Annotated[
    str | None,
    QueryParameter(
        name="model", pattern=PLAIN_TEXT, max_length=200, required=False, description="Id, name or `owner/name`"
    ),
]
OfVersion = Annotated[
    int | None,
    QueryParameter(name="version", ge=1, le=MAX_VERSION_NUMBER, required=False, description="Number of a version"),
]
Cursor = Annotated[str | None, cursor_of("prd")]


class HistoryController(Controller):
    """The predictions of models that the caller owns or manages, and their own of others; administrators see all."""

    path = "/api/v1/predictions"
    tags = ("Predictions",)

    @get(
        operation_id="list_predictions",
        summary="List past predictions, newest first",
        responses=keyed_responses(BadRequest, NotFound),
        operation_class=KEYED,
    )
    async def list_predictions(
        self,
        caller: NamedDependency[Caller],
        history: NamedDependency[HistoryService],
        model: OfModel = None,
        version: OfVersion = None,
        since: Since = None,
        until: Until = None,
        cursor: Cursor = None,
        limit: Limit = 100,
    ) -> StoredPredictionList:
        """List answered predictions of models that you own or manage, and your own of others, page by page."""
        found = await history.list_predictions(
            caller, PredictionFilter(model, version, since, until, cursor, limit + 1)
        )
        return StoredPredictionList(*page(found, limit, lambda row: StoredPrediction.of(*row)))

    @get(
        "/{prediction_id:str}",
        operation_id="get_prediction",
        summary="Show a past prediction",
        responses=keyed_responses(NotFound),
        operation_class=KEYED,
    )
    async def get_prediction(
        self, prediction_id: Name, caller: NamedDependency[Caller], history: NamedDependency[HistoryService]
    ) -> StoredPrediction:
        """Show one answered prediction, with its first rows where the server keeps inputs."""
        return StoredPrediction.of(*await history.get_prediction(caller, prediction_id))
