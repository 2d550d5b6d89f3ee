"""What commands that call a server share: its address, the key, JSON or text."""

import functools
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar
from urllib.parse import urlsplit

import rich_click as click

from serval.commands.credentials import Credential, data_folder, find_key
from serval.commands.failure import CommandFailed, RequestFailed, Unreachable
from serval.commands.output import distance, show
from serval.commands.saved_logins import last_address
from serval.conversion.plain_text import escaped
from serval.process.locks import running_server

if TYPE_CHECKING:
    from serval_client import Problem
    from serval_client import ServalError as ClientError

P = ParamSpec("P")
R = TypeVar("R")

DEFAULT_URL = "http://127.0.0.1:8080"
URL_HELP = f"Address of the server; by default the one of the data folder, or of the last login, or {DEFAULT_URL}."
TIMEOUT_SECONDS = 330.0
"""A little more than the longest wait that an upload may request."""
RETRY_SECONDS = 60.0
"""The pauses before repetitions of a request that only reads."""
NOT_FOUND, NOT_AUTHENTICATED, UNAVAILABLE = 404, 401, frozenset({502, 503, 504})
NOT_SERVAL = "{url} does not answer with JSON; is it a Serval server?"
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


class Api:
    """A server's HTTP interface, called by a client. Every method raises CommandFailed with the sentence to show."""

    def __init__(
        self, url: str, key: str | None, *, token: str | None = None, quick_seconds: float | None = None
    ) -> None:
        """`key` or `token`, an access token, are sent with each request; neither: none is. `quick_seconds`: how long
        the server may be silent, without a repetition; by default as long as its work takes."""
        from serval_client import Client
        from serval_client.connection import Address

        self.url = url.rstrip("/")
        self.key = key
        self.client = Client.at(
            Address(self.url, key, token),
            timeout_seconds=quick_seconds or TIMEOUT_SECONDS,
            retry_seconds=0.0 if quick_seconds else RETRY_SECONDS,
        )

    def close(self) -> None:
        self.client.close()

    def get(self, path: str, query: Mapping[str, str] | None = None) -> Any:
        return self._request("GET", path, query=query)

    @contextmanager
    def reading(self, path: str, query: Mapping[str, str] | None = None) -> Iterator[Iterator[bytes]]:
        """The content of a response, in parts as it arrives."""
        with self.failing(), self.client.download(path, query=query) as parts:
            yield parts

    def post(self, path: str, body: object, query: Mapping[str, str] | None = None) -> Any:
        """`body`: None sends none."""
        return self._request("POST", path, body, query=query)

    def post_csv(self, path: str, text: bytes, query: Mapping[str, str] | None = None) -> Any:
        return self._request("POST", path, text, query=query, content_type="text/csv")

    def put(self, path: str, body: object) -> Any:
        return self._request("PUT", path, body)

    def patch(self, path: str, body: object) -> Any:
        return self._request("PATCH", path, body)

    def delete(self, path: str) -> None:
        self._request("DELETE", path)

    def _request(self, method: str, path: str, body: object = None, **options: Any) -> Any:
        if method != "GET":
            options["retry_seconds"] = 0.0  # who waits at a terminal decides whether to try again
        with self.failing():
            response = self.client.request(method, path, body, **options)
        if response == "":
            return None
        if isinstance(response, str):
            raise RequestFailed(NOT_SERVAL.format(url=self.url))
        return response

    @contextmanager
    def failing(self) -> Iterator[None]:
        """Turns the errors of the client into those of commands."""
        from serval_client import ServalError

        try:
            yield
        except ServalError as error:
            raise failure_of(error, self.url) from error


def failure_of(error: "ClientError", url: str) -> CommandFailed:
    """The error of a command for one of the client, with the sentence that the server has sent, if it has."""
    import serval_client

    if isinstance(error, serval_client.Unreachable):
        return Unreachable(f"{url} does not answer: {error.cause}; is `serval serve` running there?")
    if not isinstance(error, serval_client.RequestFailed):
        return RequestFailed(NOT_SERVAL.format(url=url))
    failure = Unreachable if error.status in UNAVAILABLE else RequestFailed
    return failure(f"{error}{hint_of(error.problem, url)}", problem=error.document)


def hint_of(problem: "Problem", url: str) -> str:
    path = urlsplit(url).path
    is_lost = problem.status == NOT_FOUND and problem.detail.startswith("There is nothing at this path")
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
