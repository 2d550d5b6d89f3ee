"""What commands that call a server share: its address, the key, JSON or text."""

import functools
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import IO, Any, Concatenate, ParamSpec, TypeVar

import rich_click as click

from serval.conversion.plain_text import escaped
from serval.errors import CannotStart

P = ParamSpec("P")
R = TypeVar("R")

DEFAULT_URL = "http://127.0.0.1:8080"
TIMEOUT_SECONDS = 330.0
"""A little more than the longest wait that an upload may request."""


class Api:
    """A server's HTTP interface. Every method raises RequestFailed with the message of the server."""

    def __init__(self, url: str, key: str) -> None:
        import httpx2

        self.url = url.rstrip("/")
        self.key = key
        self._client = httpx2.Client(base_url=self.url, headers={"X-API-Key": key}, timeout=TIMEOUT_SECONDS)

    def get(self, path: str, query: Mapping[str, str] | None = None) -> Any:
        return self._request("GET", path, params=query)

    def post(self, path: str, body: object) -> Any:
        return self._request("POST", path, json=body)

    def patch(self, path: str, body: object) -> Any:
        return self._request("PATCH", path, json=body)

    def post_text(self, path: str, text: bytes, content_type: str) -> Any:
        return self._request("POST", path, content=text, headers={"Content-Type": content_type})

    def delete(self, path: str) -> None:
        self._request("DELETE", path)

    def upload(
        self, path: str, fields: Mapping[str, str], files: Mapping[str, tuple[str, IO[bytes] | bytes]], *, prefer: str
    ) -> Any:
        return self._request("POST", path, data=fields, files=files, headers={"Prefer": prefer})

    def _request(self, method: str, path: str, **options: Any) -> Any:
        import httpx2

        try:
            response = self._client.request(method, path, **options)
        except httpx2.TransportError as error:
            raise CannotStart(f"{self.url} does not answer: {error}; is `serval serve` running there?") from error
        if response.is_success:
            return response.json() if response.content else None
        raise RequestFailed(message_of(response))


class RequestFailed(CannotStart):
    """The server refused a request, or failed to convert an upload."""


def message_of(response: Any) -> str:
    """The detail of a problem document and the parts that are wrong, or the status if it is not a problem document."""
    if not response.headers.get("content-type", "").startswith("application/problem+json"):
        return f"{response.request.url} answered {response.status_code}"
    problem = response.json()
    parts = [f"{part['path']}: {part['message']}" for part in problem.get("errors") or []]
    return "; ".join([problem["detail"], *(part for part in parts if part not in problem["detail"])])


class Remote:
    """A server to call and a way to show its answers."""

    def __init__(self, api: Api, *, as_json: bool) -> None:
        self.api = api
        self.as_json = as_json

    def show(self, answer: object, as_text: Callable[[], None]) -> None:
        """Print the answer as JSON for programs, or as `as_text` prints it for people."""
        if self.as_json:
            import msgspec

            click.echo(msgspec.json.encode(answer, enc_hook=str))
        else:
            as_text()

    def table(self, rows: Iterable[Mapping[str, Any]], columns: Mapping[str, str]) -> None:
        """Print rows as a table; `columns`: field → heading."""
        from rich.console import Console
        from rich.table import Table

        table = Table(
            *(escaped(heading) for heading in columns.values()), box=None, pad_edge=False, header_style="bold"
        )
        for row in rows:
            table.add_row(*("" if row[field] is None else escaped(str(row[field])) for field in columns))
        Console(width=None if sys.stdout.isatty() else 200).print(table)


def remote(function: Callable[Concatenate[Remote, P], R]) -> Callable[..., R]:
    """Adds `--url`, `--key`, `--data-dir` and `--json`; the command gets a `Remote` as its first argument."""

    @click.option(
        "--url",
        envvar="SERVAL_URL",
        default=DEFAULT_URL,
        show_default=True,
        show_envvar=True,
        help="Address of the server.",
    )
    @click.option(
        "--key",
        "api_key",
        envvar="SERVAL_KEY",
        show_envvar=True,
        help="API key; by default the administrator's, from the data folder.",
    )
    @click.option("--data-dir", help="Data folder with admin.key.")
    @click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
    @functools.wraps(function)
    def with_remote(
        url: str, api_key: str | None, data_dir: str | None, as_json: bool, *args: P.args, **kwargs: P.kwargs
    ) -> R:
        return function(Remote(Api(url, api_key or key_in(data_dir)), as_json=as_json), *args, **kwargs)

    return with_remote


def key_in(data_dir: str | None) -> str:
    """The administrator's key. Raises CannotStart if it cannot be read."""
    from serval.settings.reading import surroundings, typed

    path: Path = typed(surroundings({"data_dir": data_dir})).admin_key_file
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError as error:
        reason = os.strerror(error.errno or 0).lower()
        raise CannotStart(
            f"no API key: `{path}` cannot be read ({reason}); give one with `--key` or `SERVAL_KEY`"
        ) from error
