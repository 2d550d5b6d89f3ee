"""The two clients: one that blocks, and one for `await`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

import httpx2
import msgspec

from serval_client.answers import Predictions
from serval_client.connection import Address
from serval_client.errors import RequestFailed, TooLarge
from serval_client.models import Models
from serval_client.operations import Asynchronous, Blocking, Call, Lost, Noun, Patience, Performer, Steps, operation
from serval_client.paths import predict_path
from serval_client.responses import error_of, failure_of, response_to, value_of
from serval_client.tables import MAX_ROWS, Table, joined

if TYPE_CHECKING:
    from typing_extensions import Self


class Predictor(Noun[Performer]):
    """What both clients do themselves."""

    @operation
    def predict(
        self, model: str, rows: Any, *, probabilities: bool = False, version: int | None = None
    ) -> Steps[Predictions]:
        """The predictions of a model for rows, with the probabilities of each class if asked for.

        `model`: an id, a name, or `owner/name`. `rows`: a pandas frame, a NumPy array or SciPy matrix
        `[rows, columns]`, a list of rows, the `Path` of a CSV file with a header; or one row: a dict by column name, a
        pandas series, an array `[columns]`, a list of values. NaN, NaT, NA and None are missing values; dates and
        datetimes are moments, in UTC unless they have a time zone. `version`: the number of another version than the
        live one.

        A table that is too large for one request is sent in several, one after the other, which all ask the version
        that answered the first.

        Raises BadRequest for rows that do not fit the model, NotFound, and ValueError or TypeError for values that
        cannot be sent.
        """
        query = {} if version is None else {"version": str(version)}
        if probabilities:
            query["outputs"] = "probabilities"
        table, path = Table.of(rows), predict_path(model)
        answers: list[Predictions] = []
        start, count = 0, MAX_ROWS
        while start < len(table) or not answers:
            part = table.part(start, count)
            call = Call("POST", path, query, part.content, table.content_type)
            try:
                answers.append((yield from value_of(call, Predictions, self._patience)))
            except TooLarge as error:  # this server takes less than most
                if part.end - part.start <= 1:
                    raise table.error_of(part, error) from None
                count = (part.end - part.start) // 2
                continue
            except RequestFailed as error:
                raise table.error_of(part, error) from None
            query = {**query, "version": str(answers[0].version)}
            start = part.end
        return joined(answers)

    @operation
    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: Mapping[str, str] | None = None,
        content_type: str = "application/json",
        retry_seconds: float | None = None,
    ) -> Steps[Any]:
        """The response of any route, for those without a method here: of JSON its value, else its text.

        `body` is sent as JSON; bytes are sent as they are, as `content_type`. `retry_seconds`: other than that of the
        client. Raises RequestFailed, Unreachable.
        """
        is_repeatable = method.upper() in {"GET", "HEAD", "PUT", "DELETE"}
        call = Call(method, path, query or {}, is_repeatable=is_repeatable)
        if body is not None:
            content = body if isinstance(body, bytes) else msgspec.json.encode(body)
            call = call._replace(content=content, content_type=content_type)
        patience = self._patience if retry_seconds is None else Patience.up_to(retry_seconds)
        response = yield from response_to(call, patience)
        is_json = response.headers.get("content-type", "").startswith("application/json")
        return msgspec.json.decode(response.content) if is_json else response.text


class Client(Predictor[Blocking]):
    """A client that blocks. Threads may share it."""

    models: Models[Blocking]

    def __init__(
        self,
        url: str | None = None,
        key: str | None = None,
        *,
        token: str | None = None,
        timeout_seconds: float = 60.0,
        retry_seconds: float = Patience().retry_seconds,
    ) -> None:
        """`url`: the server's address, by default `SERVAL_URL` or `http://127.0.0.1:8080`; `key`: an API key, by
        default `SERVAL_KEY`; `token`: an access token in place of a key.

        `timeout_seconds`: how long the server may be silent. `retry_seconds`: how long a call may pause altogether
        before it is repeated, which happens only where it is safe.

        Raises ValueError for what is no address, and without a key.
        """
        self._open(Address.of(url, key, token), timeout_seconds, Patience.up_to(retry_seconds))

    @classmethod
    def at(cls, address: Address, *, timeout_seconds: float = 60.0, retry_seconds: float | None = None) -> Self:
        """A client of an address as it is, also one without a key, which may log in or register."""
        client = cls.__new__(cls)
        client._open(address, timeout_seconds, Patience() if retry_seconds is None else Patience.up_to(retry_seconds))
        return client

    def _open(self, address: Address, timeout_seconds: float, patience: Patience) -> None:
        self._address = address
        self._http = httpx2.Client(**address.options(timeout_seconds))
        super().__init__(Blocking(self._http), patience)
        self.models = Models(self._performer, self._patience)

    @contextmanager
    def download(self, path: str, *, query: Mapping[str, str] | None = None) -> Iterator[Iterator[bytes]]:
        """The content of the response of a route, in parts as it arrives. Raises RequestFailed, Unreachable."""
        try:
            with self._http.stream("GET", path, params=query) as response:
                if not response.is_success:
                    response.read()
                    raise failure_of(response)
                yield response.iter_bytes()
        except httpx2.RequestError as error:
            raise error_of(Call("GET", path), Lost.by(error, self._http.base_url)) from None

    def __repr__(self) -> str:
        return f"Client({self._address.url!r})"

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncClient(Predictor[Asynchronous]):
    """A client with the same operations for `await`, on asyncio or Trio."""

    models: Models[Asynchronous]

    def __init__(
        self,
        url: str | None = None,
        key: str | None = None,
        *,
        token: str | None = None,
        timeout_seconds: float = 60.0,
        retry_seconds: float = Patience().retry_seconds,
    ) -> None:
        """As `Client`."""
        self._address = Address.of(url, key, token)
        self._http = httpx2.AsyncClient(**self._address.options(timeout_seconds))
        super().__init__(Asynchronous(self._http), Patience.up_to(retry_seconds))
        self.models = Models(self._performer, self._patience)

    def __repr__(self) -> str:
        return f"AsyncClient({self._address.url!r})"

    @asynccontextmanager
    async def download(
        self, path: str, *, query: Mapping[str, str] | None = None
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """As that of `Client`."""
        try:
            async with self._http.stream("GET", path, params=query) as response:
                if not response.is_success:
                    await response.aread()
                    raise failure_of(response)
                yield response.aiter_bytes()
        except httpx2.RequestError as error:
            raise error_of(Call("GET", path), Lost.by(error, self._http.base_url)) from None

    async def aclose(self) -> None:
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()
