"""Each operation is written once: a generator of steps, which a client performs as it goes, blocking or not.

An operation yields what is to be done outside of it (a `Call`, a `Pause`, some `Work`) and is sent the outcome. So it
knows neither sockets nor event loops. `Blocking` and `Asynchronous` perform the steps; `@operation` makes methods that
return a result in a `Client`, and a coroutine in an `AsyncClient`.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Coroutine, Generator, Mapping
from contextlib import closing
from typing import TYPE_CHECKING, Any, BinaryIO, Callable, Generic, NamedTuple, TypeVar, Union, cast, overload

import anyio
import anyio.to_thread
import httpx2

from serval_client.files import ModelFile

if TYPE_CHECKING:
    from typing_extensions import Concatenate, ParamSpec, Protocol

    P = ParamSpec("P")

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Call(NamedTuple):
    """A request."""

    method: str
    path: str
    query: Mapping[str, str] = {}
    content: bytes | None = None
    content_type: str | None = None
    fields: Mapping[str, str] | None = None
    """Of a form, beside its `file`."""
    file: ModelFile | None = None
    prefer: str | None = None
    held_seconds: float = 0.0
    """For how long the server may hold it before it responds."""
    is_repeatable: bool = True
    """Whether doing it twice does no more than doing it once."""

    def request(self, http: httpx2.Client | httpx2.AsyncClient) -> httpx2.Request:
        file = cast("BinaryIO", self.file)  # of which it has what is needed
        headers = {"Content-Type": self.content_type, "Prefer": self.prefer}
        timeout = http.timeout.as_dict()
        timeout["read"] = None if timeout["read"] is None else timeout["read"] + self.held_seconds
        return http.build_request(
            self.method,
            self.path,
            params=self.query,
            content=self.content,
            data=self.fields,
            files=None if self.file is None else {"file": (self.file.name, file)},
            headers={name: value for name, value in headers.items() if value is not None},
            timeout=httpx2.Timeout(**timeout),
        )


class Pause(NamedTuple):
    seconds: float


class Work(NamedTuple):
    """Something that computes for a while, such as a model that predicts."""

    function: Callable[[], Any]


class Lost(NamedTuple):
    """What becomes of a call without a response."""

    reason: str
    is_sent: bool
    """Whether the server may have received it."""
    is_late: bool
    """Whether it was given up after the time limit."""
    cause: str = ""
    """The reason without the address."""

    @classmethod
    def by(cls, error: httpx2.RequestError, url: httpx2.URL) -> Lost:
        """The error itself holds the request with its key, so its text alone is kept."""
        cause = str(error).rstrip(".") or type(error).__name__
        return cls(
            reason=f"{str(url).rstrip('/')} does not respond: {cause}",
            is_sent=not isinstance(error, (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)),
            is_late=isinstance(error, httpx2.TimeoutException),
            cause=cause,
        )


class Patience(NamedTuple):
    """For how long a call is repeated, where that is safe."""

    retry_seconds: float = 30.0
    """The pauses before repetitions altogether."""
    refused_seconds: float = 3.0
    """The same, while there is no connection: as long as a server takes to restart."""

    @classmethod
    def up_to(cls, retry_seconds: float) -> Patience:
        return cls(retry_seconds, min(retry_seconds, cls().refused_seconds))


Step = Union[Call, Pause, Work]
Steps = Generator[Step, Any, T]
"""A call is sent its `httpx2.Response` or `Lost`, work its result, a pause None."""


class Blocking:
    """Performs the steps of a `Client`."""

    def __init__(self, http: httpx2.Client) -> None:
        self._http = http

    def run(self, steps: Steps[T]) -> T:
        outcome: Any = None
        with closing(steps):
            while True:
                try:
                    step = steps.send(outcome)
                except StopIteration as end:
                    result: T = end.value
                    return result
                outcome = self._perform(step)

    def _perform(self, step: Step) -> Any:
        if isinstance(step, Pause):
            return time.sleep(step.seconds)
        if isinstance(step, Work):
            return step.function()
        try:
            return self._http.send(step.request(self._http))
        except httpx2.RequestError as error:
            return Lost.by(error, self._http.base_url)


class Asynchronous:
    """Performs the steps of an `AsyncClient`, on asyncio or Trio."""

    def __init__(self, http: httpx2.AsyncClient) -> None:
        self._http = http

    async def run(self, steps: Steps[T]) -> T:
        outcome: Any = None
        with closing(steps):
            while True:
                try:
                    step = steps.send(outcome)
                except StopIteration as end:
                    result: T = end.value
                    return result
                outcome = await self._perform(step)

    async def _perform(self, step: Step) -> Any:
        if isinstance(step, Pause):
            return await anyio.sleep(step.seconds)
        if isinstance(step, Work):
            return await anyio.to_thread.run_sync(step.function)
        try:
            return await self._http.send(step.request(self._http))
        except httpx2.RequestError as error:
            return Lost.by(error, self._http.base_url)


Performer = TypeVar("Performer", Blocking, Asynchronous)


class Noun(Generic[Performer]):
    """A namespace of operations, such as `client.models`."""

    def __init__(self, performer: Performer, patience: Patience) -> None:
        self._performer: Performer = performer
        self._patience = patience


if TYPE_CHECKING:

    class Method(Protocol[P, T_co]):
        """An operation, as a method of either client."""

        @overload
        def __get__(self, noun: Noun[Blocking], owner: object = None) -> Callable[P, T_co]: ...
        @overload
        def __get__(self, noun: Noun[Asynchronous], owner: object = None) -> Callable[P, Coroutine[Any, Any, T_co]]: ...


def operation(function: Callable[Concatenate[Any, P], Steps[T]]) -> Method[P, T]:
    """Make a method of a generator of steps: one that performs them and returns their result."""

    @functools.wraps(function)
    def method(noun: Noun[Any], *args: P.args, **kwargs: P.kwargs) -> Any:
        return noun._performer.run(function(noun, *args, **kwargs))

    return cast("Method[P, T]", method)
