"""One prediction, from the bytes of a body to the bytes of an answer."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple, TypeVar, cast

from serval.auth.caller import Caller, FindCaller
from serval.conversion.signature import Signature
from serval.data_plane.plane import Answer, Callers, Deferred, NeedsPython, Predictor, Refusal
from serval.deployments.publishing import RoutePublisher
from serval.errors import Unavailable, UnsupportedContent
from serval.models.loading import ModelLoader
from serval.predictions.csv_rows import decode_csv
from serval.predictions.decoding import decode_json, model_name
from serval.predictions.refusals import refusal_error
from serval.predictions.request import PredictionRequest
from serval.predictions.values import Decoded

T = TypeVar("T")
Recovery = Callable[[PredictionRequest, Refusal], Awaitable[None]]

MAX_LOOKUPS = 5
"""How often a credential is looked up at most while others are being revoked."""

SMALL_BODY_BYTES = 64 * 1024
"""A larger body is decoded on another thread, so that the event loop stays free for the others."""


class ResolvedVersion(NamedTuple):
    """The version that answers: ids of its model and of itself."""

    model: str
    version: str


class PredictionService:
    """Asks the data plane, and does what it leaves to Python."""

    def __init__(
        self,
        predictor: Predictor,
        callers: Callers,
        find_caller: FindCaller,
        loader: ModelLoader,
        routes: RoutePublisher,
        max_rows: int,
    ) -> None:
        self._predictor = predictor
        self._callers = callers
        self._find_caller = find_caller
        self._loader = loader
        self._routes = routes
        self._max_rows = max_rows
        self._recoveries: Mapping[str, Recovery] = {
            "unknown_caller": self._recover_caller,
            "model_loading": self._recover_version,
            "unknown_model": self._await_publication,
            "unknown_version": self._await_publication,
        }
        """What Python can do about a refusal, by its code; each is tried once a request."""

    async def decode(self, request: PredictionRequest, body: bytes, signature: Signature) -> Decoded:
        """Return the rows of a body as the graph takes them. Raises MalformedBody, InvalidFeatures, TooLarge."""

        def decode() -> Decoded:
            if request.csv is not None:
                return decode_csv(body, signature, request.csv, max_rows=self._max_rows)
            return decode_json(body, signature, max_rows=self._max_rows, shape=request.shape)

        return await asyncio.to_thread(decode) if len(body) > SMALL_BODY_BYTES else decode()

    async def admit(self, request: PredictionRequest) -> None:
        """Look up a caller unknown to the data plane, before the body is read. Raises NotAuthenticated."""
        if self.user_of(request) is None:
            await self._install_caller(request)

    async def answer(self, request: PredictionRequest, body: bytes) -> Answer:
        """Return the encoded answer. Raises the ServalError that explains why there is none."""
        if request.csv is not None and request.model is None:
            raise UnsupportedContent(
                "`POST /predict` names the model in a JSON body: send CSV to /api/v1/predict/{model}."
            )
        plane_request = request.for_data_plane()

        def ask() -> Answer | Refusal | NeedsPython | Deferred:
            return self._predictor.answer(plane_request, request.model, request.version, None, body)

        reply: Answer | NeedsPython = await self._ask(request, ask)
        if isinstance(reply, Answer):
            return reply
        if reply.version:
            return await self._decode_and_predict(request, body, ResolvedVersion(reply.model, reply.version))
        model = request.model or model_name(body)
        return await self._decode_and_predict(request, body, await self._resolve(request, model))

    async def asked_model(self, request: PredictionRequest, body: bytes) -> tuple[Caller, str]:
        """Return who asks for which model, as the request names it. Raises NotAuthenticated."""
        caller = await self._find_caller(request.credential, request.client)
        return caller, request.model or model_name(body)

    def user_of(self, request: PredictionRequest) -> str | None:
        """Return the id of the user whose credential it is, None where the data plane does not know it."""
        return self._callers.user_of(request.digest)

    async def _resolve(self, request: PredictionRequest, model: str) -> ResolvedVersion:
        """Return the version that a request is about."""

        def find() -> ResolvedVersion | Refusal:
            version = self._predictor.find(request.digest, model, request.version, None)
            return version if isinstance(version, Refusal) else ResolvedVersion(version[0], version[1])

        return await self._ask(request, find)

    async def _decode_and_predict(self, request: PredictionRequest, body: bytes, resolved: ResolvedVersion) -> Answer:
        decoded = await self.decode(request, body, (await self._loader.ensure_loaded(resolved.version)).signature)
        plane_request = request.for_data_plane()

        def predict() -> Answer | Refusal | Deferred:
            return self._predictor.predict(
                plane_request, resolved.model, resolved.version, decoded.is_list, decoded.numbers, decoded.strings
            )

        return await self._ask(request, predict)

    async def _ask(self, request: PredictionRequest, ask: Callable[[], T | Refusal | Deferred]) -> T:
        """Ask the data plane until it answers; recover once from each kind of refusal that Python can recover from."""
        recovered: set[str] = set()
        while True:
            reply: Any = ask()
            if isinstance(reply, Deferred):
                reply = await _completed(reply)
            if not isinstance(reply, Refusal):
                return cast(T, reply)
            if reply.code == "ran_away":
                await self._loader.quarantine_runaways()
            if reply.code in recovered or reply.code not in self._recoveries:
                self._check_released(request, reply)
                raise refusal_error(reply)
            recovered.add(reply.code)
            await self._recoveries[reply.code](request, reply)

    def _check_released(self, request: PredictionRequest, refusal: Refusal) -> None:
        """Raises VersionHeld where a version is unknown because no route leads to it."""
        if refusal.code == "unknown_version" and request.model is not None and request.version is not None:
            self._routes.check_released(self.user_of(request), request.model, request.version)

    async def _recover_caller(self, request: PredictionRequest, _: Refusal) -> None:
        await self._install_caller(request)

    async def _recover_version(self, _: PredictionRequest, refusal: Refusal) -> None:
        await self._loader.quarantine_runaways()
        await self._loader.ensure_loaded(refusal.arguments["version_id"])

    async def _await_publication(self, _: PredictionRequest, __: Refusal) -> None:
        await self._routes.announced()

    async def _install_caller(self, request: PredictionRequest) -> None:
        """Look up a credential and make its caller known to the data plane. Raises NotAuthenticated."""
        for _ in range(MAX_LOOKUPS):
            epoch = self._callers.epoch(request.digest)
            if self._callers.put(await self._find_caller(request.credential, request.client), epoch):
                return
        raise Unavailable("Keys are being revoked faster than this one can be checked: try again in a second.")


async def _completed(deferred: Deferred) -> Answer | Refusal | NeedsPython:
    """Wait for the rest of a prediction, which runs on threads of the data plane. Raises what the run raises."""
    loop = asyncio.get_running_loop()
    reply: asyncio.Future[Answer | Refusal | NeedsPython] = loop.create_future()

    def settle(outcome: Answer | Refusal | NeedsPython | Exception) -> None:
        if reply.cancelled():
            return
        if isinstance(outcome, Exception):
            reply.set_exception(outcome)
        else:
            reply.set_result(outcome)

    deferred.start(lambda outcome: loop.call_soon_threadsafe(settle, outcome))
    try:
        return await reply
    except asyncio.CancelledError:
        deferred.cancel()
        raise
