"""One prediction, from the bytes of a body to the bytes of an answer."""

from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple, TypeVar

import msgspec

from serval.auth.caller import FindCaller
from serval.data_plane import Answer, DataPlane, Later, NotMine, Publisher, Refusal
from serval.errors import OutOfTime, UnsupportedContent
from serval.models.live import LiveModels
from serval.models.service import LARGEST_NUMBER
from serval.predictions.compute import Compute, RanAway
from serval.predictions.csv_rows import decode_csv
from serval.predictions.decoding import decode_json, model_name
from serval.predictions.refusals import refusal_error
from serval.predictions.values import Decoded

T = TypeVar("T")

SMALL_BODY_BYTES = 64 * 1024
"""A larger body is decoded on a compute thread, so that the event loop stays free for the others."""


class Question(msgspec.Struct):
    """What a request asks, besides its rows."""

    caller: bytes
    """SHA-256 of the key presented."""
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
    queue_seconds: float = 0.0
    """How long it waited for a thread on its way to the answer."""


class Target(NamedTuple):
    """The version that answers: ids of its model and of itself."""

    model: str
    version: str


class Run(NamedTuple):
    """A run of a version, before it is made."""

    version: str
    expected_seconds: float


class PredictionService:
    """Asks the data plane, and does what it leaves to Python."""

    def __init__(
        self, plane: DataPlane, publisher: Publisher, find_caller: FindCaller, live: LiveModels, compute: Compute, max_rows: int
    ) -> None:
        self._plane = plane
        self._publisher = publisher
        self._find_caller = find_caller
        self._live = live
        self._compute = compute
        self._max_rows = max_rows

    async def answer(self, question: Question, body: bytes) -> Answer:
        """Return the encoded answer. Raises the ServalError that explains why there is none."""
        if question.version is not None:
            question.version = min(question.version, LARGEST_NUMBER)  # a caller may ask for one that no integer of the core holds
        if question.csv is not None:
            return await self._decode_and_predict(question, body, await self._find(question, question.model))

        def ask(may_block: bool) -> Answer | NotMine | Refusal | Later:
            return self._answer(question, body, may_block)

        def run() -> Run | None:
            return self._run_of(question, body)

        reply: Answer | NotMine = await self._ask(question, ask, run, may_block=len(body) > SMALL_BODY_BYTES)
        if isinstance(reply, Answer):
            return reply
        if reply.version:
            return await self._decode_and_predict(question, body, Target(reply.model, reply.version))
        return await self._decode_and_predict(question, body, await self._find(question, question.model or model_name(body)))

    def _answer(self, question: Question, body: bytes, may_block: bool) -> Answer | Refusal | NotMine | Later:
        q = question
        return self._plane.answer(
            q.caller, q.shape, q.model, q.version, q.alias, q.all_probabilities, q.no_cache, body, q.started_ns, may_block
        )

    async def _ask(
        self,
        question: Question,
        ask: Callable[[bool], T | Refusal | Later],
        run: Callable[[], Run | None] = lambda: None,
        *,
        may_block: bool = False,
    ) -> T:
        """Ask until there is an answer, mending what Python can mend, each once: an unknown caller, a version not loaded, one
        about to be routed, a dear call.

        `run`: what the call would run, for a dear one to be refused before it starts where it can not end in time.
        """
        mended: set[str] = set()
        while True:
            reply = await self._on_thread(question, lambda: ask(True), run()) if may_block else ask(False)
            if isinstance(reply, Later):
                may_block = True
            elif not isinstance(reply, Refusal):
                return reply
            elif reply.code in mended:
                raise refusal_error(reply)
            else:
                mended.add(reply.code)
                await self._mend(question, reply)

    async def _on_thread(self, question: Question, call: Callable[[], T], run: Run | None = None) -> T:
        try:
            result, waited_seconds = await self._compute.run(call, run and run.expected_seconds)
        except RanAway as error:
            if run is not None:
                await self._live.quarantine(run.version, str(error))
            raise OutOfTime("The prediction did not end in time, so the version was taken out of service.") from None
        question.queue_seconds += waited_seconds
        return result

    def _run_of(self, question: Question, body: bytes) -> Run | None:
        """What a body of JSON would run at most: it has a row for each opening bracket, at most. None where that is not known yet."""
        model = question.model or model_name(body)
        found = self._plane.find(question.caller, model, question.version, question.alias)
        if isinstance(found, Refusal):
            return None
        return self._run(found[1], min(body.count(b"[") + body.count(b"{"), self._max_rows))

    def _run(self, version: str, rows: int) -> Run | None:
        running = self._live.running(version)
        return None if running is None else Run(version, running.seconds(rows))

    async def _mend(self, question: Question, refusal: Refusal) -> None:
        if refusal.code == "unknown_caller":
            caller = await self._find_caller(question.caller)
            self._publisher.put_caller(
                caller.key_digest, caller.user_id, caller.username, is_admin=caller.is_admin, expires_at=caller.expires_at
            )
        elif refusal.code == "model_loading":
            await self._live.ensure_loaded(refusal.arguments["version_id"])
        elif refusal.code in {"unknown_model", "unknown_version"}:
            await self._live.announced()
        else:
            raise refusal_error(refusal)

    async def _find(self, question: Question, model: str | None) -> Target:
        """Return the version that a question is about."""
        if model is None:
            raise UnsupportedContent("`POST /predict` names the model in a JSON body: send CSV to /api/v1/predict/{model}.")

        def find(_: bool) -> Target | Refusal:
            found = self._plane.find(question.caller, model, question.version, question.alias)
            return found if isinstance(found, Refusal) else Target(found[0], found[1])

        return await self._ask(question, find)

    async def _decode_and_predict(self, question: Question, body: bytes, target: Target) -> Answer:
        signature = (await self._live.ensure_loaded(target.version)).signature

        def decode() -> Decoded:
            if question.csv is not None:
                return decode_csv(body, signature, parameters=question.csv, max_rows=self._max_rows)
            return decode_json(body, signature, max_rows=self._max_rows, shape=question.shape)

        decoded = await self._on_thread(question, decode) if len(body) > SMALL_BODY_BYTES else decode()
        return await self._ask(
            question,
            lambda may_block: self._predict(question, target, decoded, may_block),
            lambda: self._run(target.version, decoded.rows),
        )

    def _predict(self, question: Question, target: Target, decoded: Decoded, may_block: bool) -> Answer | Refusal | Later:
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
            may_block,
        )

    def user_of(self, caller: bytes) -> str | None:
        """Return the id of the user behind a key that has predicted."""
        return self._publisher.user_of(caller)
