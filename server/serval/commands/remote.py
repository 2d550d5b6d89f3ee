"""What commands that call a server share: its address, the key, JSON or text."""

import functools
import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from typing import IO, Any, Concatenate, ParamSpec, TypeVar
from urllib.parse import urlsplit

import rich_click as click

from serval.commands.credentials import Credential, data_folder, find_key, host_of
from serval.commands.failure import CommandFailed, RequestFailed, Unreachable
from serval.commands.output import distance, show
from serval.commands.saved_logins import last_address
from serval.conversion.plain_text import escaped
from serval.process.locks import running_server
from serval.settings.addresses import is_loopback

P = ParamSpec("P")
R = TypeVar("R")

DEFAULT_URL = "http://127.0.0.1:8080"
URL_HELP = f"Address of the server; by default the one of the data folder, or of the last login, or {DEFAULT_URL}."
TIMEOUT_SECONDS = 330.0
"""A little more than the longest wait that an upload may request."""
RATE_LIMITED, NOT_FOUND, NOT_AUTHENTICATED, UNAVAILABLE = 429, 404, 401, frozenset({502, 503, 504})
MAX_PAUSE_SECONDS = 60.0
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
POINTER = re.compile(r" \(and \d+ more, see `errors`\)")
"""The note in a detail that counts the errors it leaves out."""


class Api:
    """A server's HTTP interface. Every method raises RequestFailed with the message of the server."""

    def __init__(self, url: str, key: str | None, *, token: str | None = None) -> None:
        """`key` or `token`, an access token, are sent with each request; neither: none is."""
        import httpx2

        self.url = url.rstrip("/")
        self.key = key
        headers = {} if key is None else {"X-API-Key": key}
        # A proxy of the environment would get the key of a server that nobody else can reach.
        self._client = httpx2.Client(
            base_url=self.url,
            headers=headers if token is None else {"Authorization": f"Bearer {token}"},
            timeout=TIMEOUT_SECONDS,
            trust_env=not is_loopback(host_of(self.url)),
        )

    def close(self) -> None:
        self._client.close()

    def get(self, path: str, query: Mapping[str, str] | None = None, *, prefer: str | None = None) -> Any:
        return self._request("GET", path, params=query, headers=None if prefer is None else {"Prefer": prefer})

    @contextmanager
    def reading(self, path: str) -> Iterator[Iterator[bytes]]:
        """The content of a response, in parts as it arrives."""
        import httpx2

        try:
            with self._client.stream("GET", path) as response:
                if not response.is_success:
                    response.read()
                    raise failure_of(response, self.url)
                yield response.iter_bytes()
        except httpx2.RequestError as error:
            raise unreachable(self.url, error) from error

    def get_bytes(self, path: str, query: Mapping[str, str] | None = None) -> bytes:
        content: bytes = self._response("GET", path, params=query).content
        return content

    def post(self, path: str, body: object) -> Any:
        """`body`: None sends none."""
        return self._request("POST", path, json=body)

    def put(self, path: str, body: object) -> Any:
        return self._request("PUT", path, json=body)

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
        response = self._response(method, path, **options)
        try:
            return response.json() if response.content else None
        except ValueError as error:
            raise RequestFailed(f"{self.url} does not answer with JSON; is it a Serval server?") from error

    def _response(self, method: str, path: str, **options: Any) -> Any:
        import httpx2

        while True:
            try:
                response = self._client.request(method, path, **options)
            except httpx2.RequestError as error:
                raise unreachable(self.url, error) from error
            if response.status_code != RATE_LIMITED or method != "GET":
                break
            time.sleep(pause_of(response))
        if response.is_success:
            return response
        raise failure_of(response, self.url)


def unreachable(url: str, error: Exception) -> Unreachable:
    reason = str(error).rstrip(".") or type(error).__name__
    return Unreachable(f"{url} does not answer: {reason}; is `serval serve` running there?")


def pause_of(response: Any) -> float:
    """The seconds that a server asks to wait; at least one, and a minute at most."""
    asked = response.headers.get("retry-after", "1")
    return max(1.0, min(float(asked), MAX_PAUSE_SECONDS)) if asked.isdecimal() else 1.0


def failure_of(response: Any, url: str) -> CommandFailed:
    """The error of a response: the detail of its problem document and the parts that are wrong, or its status."""
    failure = Unreachable if response.status_code in UNAVAILABLE else RequestFailed
    if not response.headers.get("content-type", "").startswith("application/problem+json"):
        return failure(f"{response.request.url} answered {response.status_code}{hint_of(response, url)}")
    problem = response.json()
    return failure(sentence_of(problem) + hint_of(response, url), problem=problem)


def sentence_of(problem: Mapping[str, Any]) -> str:
    """The detail of a problem document, which tells of its first wrong part, and the other parts."""
    detail: str = problem["detail"]
    parts = [f"{part['path']}: {part['message']}" for part in (problem.get("errors") or [])[1:]]
    return "; ".join([POINTER.sub("", detail).rstrip("."), *parts]) if parts else detail


def hint_of(response: Any, url: str) -> str:
    path = urlsplit(url).path
    is_lost = response.status_code == NOT_FOUND and b"There is nothing at this path" in response.content
    return (
        f" `--url` has the path `{path}`: leave it out unless a proxy serves Serval there." if is_lost and path else ""
    )


class Remote:
    """A server to call and a way to show its answers."""

    def __init__(self, api: Api, *, as_json: bool, key_source: str = "") -> None:
        """`key_source`: where the key comes from, in words."""
        self.api = api
        self.as_json = as_json
        self.key_source = key_source

    def show(self, answer: object, as_text: Callable[[], None]) -> None:
        """Print the answer as JSON for programs, or as `as_text` prints it for people."""
        show(answer, as_text, as_json=self.as_json)

    def facts(self, found: Mapping[str, Any]) -> None:
        """Print the fields of one thing that have a value, one a line."""
        for name, value in found.items():
            if text := as_cell(value):
                click.echo(f"{name.replace('_', ' '):<20}{text}")

    def table(self, rows: Iterable[Mapping[str, Any]], columns: Mapping[str, str]) -> None:
        """Print rows as a table without the columns that are empty; `columns`: field → heading. Nothing is cut."""
        from rich.cells import cell_len

        now = datetime.now(UTC) if sys.stdout.isatty() else None
        cells = [[as_cell(row[field], now) for field in columns] for row in rows]
        lines = [list(columns.values()), *cells]
        shown = [index for index in range(len(columns)) if not cells or any(line[index] for line in cells)]
        widths = {index: max(cell_len(line[index]) for line in lines) for index in shown}
        for line in lines:
            padded = (line[index] + " " * (widths[index] - cell_len(line[index])) for index in shown)
            click.echo("  ".join(padded).rstrip())


def as_cell(value: object, now: datetime | None = None) -> str:
    """A value as people read it: a mark or nothing, a time to the second in UTC, or if `now` is given as a distance."""
    if value is None or value is False:
        return ""
    if value is True:
        return "yes"
    text = escaped(str(value))
    if not TIME.fullmatch(text):
        return text
    return f"{text[:10]} {text[11:19]}" if now is None else distance(datetime.fromisoformat(text), now)


def remote(function: Callable[Concatenate[Remote, P], R]) -> Callable[..., R]:
    """Adds `--url`, `--key`, `--data-dir` and `--json`; the command gets a `Remote` as its first argument."""

    @click.option(
        "--url",
        envvar="SERVAL_URL",
        show_envvar=True,
        help=URL_HELP,
    )
    @click.option(
        "--key",
        "api_key",
        envvar="SERVAL_KEY",
        show_envvar=True,
        help="API key; by default the administrator's, from the data folder, or that of `serval login`.",
    )
    @click.option("--data-dir", help="Data folder of the server, with its address and admin.key.")
    @click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
    @functools.wraps(function)
    def with_remote(
        url: str | None, api_key: str | None, data_dir: str | None, as_json: bool, *args: P.args, **kwargs: P.kwargs
    ) -> R:
        refuse_empty("--url", "SERVAL_URL", url)
        refuse_empty("--key", "SERVAL_KEY", api_key)
        base = address(url, data_dir, has_key=api_key is not None)
        given = None if api_key is None else Credential(api_key, "`--key`" if is_on_line("api_key") else "`SERVAL_KEY`")
        credential = find_key(given, data_dir, base, is_url_given=url is not None)
        with closing(Api(credential.address or base, credential.key)) as api:
            try:
                return function(Remote(api, as_json=as_json, key_source=credential.source), *args, **kwargs)
            except RequestFailed as error:
                if credential.is_login and error.problem.get("status") == NOT_AUTHENTICATED:
                    raise RequestFailed(
                        f"{error.message} Log in again with `serval login`.", problem=error.problem
                    ) from error
                raise

    return with_remote


def is_on_line(parameter: str) -> bool:
    """Whether a parameter of the command that runs was given on the command line, not by a variable."""
    from click import get_current_context
    from click.core import ParameterSource

    return get_current_context().get_parameter_source(parameter) is ParameterSource.COMMANDLINE


def refuse_empty(option: str, variable: str, value: str | None) -> None:
    """Raises UsageError for an option or a variable that is set to nothing: what was meant is not the default."""
    if value == "":
        raise click.UsageError(f"`{option}` is empty.")
    if value is None and os.environ.get(variable) == "":
        raise click.UsageError(f"`{variable}` is set and empty: unset it or give it a value.")


def address(url: str | None, data_dir: str | None, *, has_key: bool = False) -> str:
    """The base URL of the server: as given, or that of the server that runs in the data folder, or that of the last
    login, or the default. `has_key`: a key was given, by an option or a variable.

    Raises UsageError for what is no address.
    """
    if url is None:
        here = running_server(data_folder(data_dir))
        # A key that was given, or that of a data folder, is not meant for the server of a login.
        return here or (last_address() if data_dir is None and not has_key else None) or DEFAULT_URL
    complete = url if "://" in url else f"http://{url}"
    try:
        parts = urlsplit(complete)
        is_address = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        is_address = False
    if not is_address or parts.query or parts.fragment:
        raise click.UsageError(f"`{url}` is no address of a server: expected one such as {DEFAULT_URL}.")
    return complete.rstrip("/")
