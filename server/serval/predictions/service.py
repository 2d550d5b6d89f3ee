"""One prediction, from the bytes of a body to the bytes of an answer."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple, TypeVar, cast

import msgspec

from serval.auth.caller import Caller, ClientInfo, FindCaller
from serval.auth.credentials import Credential
from serval.data_plane.plane import Answer, DataPlane, Later, NotMine, Publisher, Refusal
from serval.deployments.publishing import RoutePublisher
from serval.errors import Unavailable, UnsupportedContent
from serval.models.loading import ModelLoader
from serval.models.queries import LARGEST_NUMBER
from serval.predictions.csv_rows import decode_csv
from serval.predictions.decoding import decode_json, model_name
from serval.predictions.refusals import refusal_error
from serval.predictions.values import Decoded

T = TypeVar("T")

CHECKS = 5
"""How often a key is looked up at most while others are being revoked."""

SMALL_BODY_BYTES = 64 * 1024
"""A larger body is decoded on another thread, so that the event loop stays free for the others."""


class Question(msgspec.Struct):
    """What a request asks, besides its rows."""

    caller: bytes
    """SHA-256 of the credential."""
    credential: Credential
    origin: ClientInfo
    shape: Literal["short", "full"]
    model: str | None
    """Id, name or `owner/name`; None: the body says it."""
    version: int | None
    alias: str | None
    all_probabilities: bool
    no_cache: bool
    csv: Mapping[str, str] | None
    """Parameters of `text/csv`; None: the body is JSON."""
    started_ns: int
    """CLOCK_MONOTONIC when the body began to arrive."""


class Target(NamedTuple):
    """The version that answers: ids of its model and of itself."""

    model: str
    version: str


class PredictionService:
    """Asks the data plane, and does what it leaves to Python."""

    def __init__(
        self,
        plane: DataPlane,
        publisher: Publisher,
        find_caller: FindCaller,
        loader: ModelLoader,
        routes: RoutePublisher,
        max_rows: int,
    ) -> None:
        self._plane = plane
        self._publisher = publisher
        self._find_caller = find_caller
        self._loader = loader
        self._routes = routes
        self._max_rows = max_rows

    async def admit(self, question: Question) -> None:
        """Look up a caller that is not known here: before the body, for which nobody else is asked. Raises
        NotAuthenticated."""
        if self.user_of(question.caller) is None:
            await self._install_caller(question)

    async def answer(self, question: Question, body: bytes) -> Answer:
        """Return the encoded answer. Raises the ServalError that explains why there is none."""
        if question.version is not None:
            question.version = min(
                question.version, LARGEST_NUMBER
            )  # a caller may ask for one that no integer of the core holds
        if question.csv is not None:
            return await self._decode_and_predict(question, body, await self._find(question, question.model))
        reply: Answer | NotMine = await self._ask(question, lambda: self._answer(question, body))
        if isinstance(reply, Answer):
            return reply
        if reply.version:
            return await self._decode_and_predict(question, body, Target(reply.model, reply.version))
        return await self._decode_and_predict(
            question, body, await self._find(question, question.model or model_name(body))
        )

    def _answer(self, question: Question, body: bytes) -> Answer | Refusal | NotMine | Later:
        q = question
        return self._plane.answer(
            q.caller, q.shape, q.model, q.version, q.alias, q.all_probabilities, q.no_cache, body, q.started_ns
        )

    async def _ask(self, question: Question, ask: Callable[[], T | Refusal | Later]) -> T:
        """Ask until there is an answer, mending what Python can mend, each once: an unknown caller, a version not
        loaded, one
        about to be routed."""
        mended: set[str] = set()
        while True:
            reply: Any = ask()
            if isinstance(reply, Later):
                reply = await _finished(reply)
            if not isinstance(reply, Refusal):
                return cast(T, reply)
            if reply.code in mended:
                raise refusal_error(reply)
            mended.add(reply.code)
            await self._mend(question, reply)

    async def _mend(self, question: Question, refusal: Refusal) -> None:
        if refusal.code == "unknown_caller":
            await self._install_caller(question)
        elif refusal.code == "model_loading":
            await self._loader.quarantine_runaways()
            await self._loader.ensure_loaded(refusal.arguments["version_id"])
        elif refusal.code in {"unknown_model", "unknown_version"}:
            await self._routes.announced()
        else:
            if refusal.code == "ran_away":
                await self._loader.quarantine_runaways()
            raise refusal_error(refusal)

    async def _install_caller(self, question: Question) -> None:
        """Check a credential and make it known. Raises NotAuthenticated."""
        digest = question.caller
        for _ in range(CHECKS):
            epoch = self._publisher.epoch(digest)
            if self._install(digest, await self._find_caller(question.credential, question.origin), epoch):
                return
        raise Unavailable("Keys are being revoked faster than this one can be checked: try again in a second.")

    def _install(self, digest: bytes, caller: Caller, epoch: int) -> bool:
        quota = caller.quota
        return self._publisher.put_caller(
            digest,
            user_id=caller.user_id,
            key_id=caller.key_id,
            is_admin=caller.is_admin,
            can_predict="predict" in caller.scopes,
            models=None if caller.models is None else sorted(caller.models),
            expires_at=caller.expires_at,
            limits=caller.predict_limits,
            quota=None if quota is None else (quota.used, quota.allowed, quota.resets_at.timestamp()),
            epoch=epoch,
        )

    async def _find(self, question: Question, model: str | None) -> Target:
        """Return the version that a question is about."""
        if model is None:
            raise UnsupportedContent(
                "`POST /predict` names the model in a JSON body: send CSV to /api/v1/predict/{model}."
            )

        def find() -> Target | Refusal:
            found = self._plane.find(question.caller, model, question.version, question.alias)
            return found if isinstance(found, Refusal) else Target(found[0], found[1])

        return await self._ask(question, find)

    async def _decode_and_predict(self, question: Question, body: bytes, target: Target) -> Answer:
        signature = (await self._loader.ensure_loaded(target.version)).signature

        def decode() -> Decoded:
            if question.csv is not None:
                return decode_csv(body, signature, parameters=question.csv, max_rows=self._max_rows)
            return decode_json(body, signature, max_rows=self._max_rows, shape=question.shape)

        decoded = await asyncio.to_thread(decode) if len(body) > SMALL_BODY_BYTES else decode()
        return await self._ask(question, lambda: self._predict(question, target, decoded))

    def _predict(self, question: Question, target: Target, decoded: Decoded) -> Answer | Refusal | Later:
        q, d = question, decoded
        return self._plane.predict(
            q.caller,
            q.shape,
            target.model,
            target.version,
            q.all_probabilities,
            q.no_cache,
            d.is_list,
            d.numbers,
            d.strings,
            q.started_ns,
        )

    def user_of(self, caller: bytes) -> str | None:
        """Return the id of the user behind a key that has predicted."""
        return self._publisher.user_of(caller)


async def _finished(later: Later) -> Answer | Refusal | NotMine:
    """Wait for the rest of a prediction, which runs on threads of the data plane. Raises what the run raises."""
    loop = asyncio.get_running_loop()
    reply: asyncio.Future[Answer | Refusal | NotMine] = loop.create_future()

    def settle(outcome: Answer | Refusal | NotMine | Exception) -> None:
        if reply.cancelled():
            return
        if isinstance(outcome, Exception):
            reply.set_exception(outcome)
        else:
            reply.set_result(outcome)

    later.start(lambda outcome: loop.call_soon_threadsafe(settle, outcome))
    try:
        return await reply
    except asyncio.CancelledError:
        later.cancel()
        raise
