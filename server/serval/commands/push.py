"""Uploads a model file: with its expected answers, a progress bar, and again when it changes."""

import hashlib
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serval.commands.failure import DONE, HELD, CommandFailed, Interrupted, RequestFailed
from serval.commands.output import escaped_lines, say
from serval.commands.references import warn_of_namesakes
from serval.commands.remote import Remote
from serval.commands.reports import print_report
from serval.errors import ServalError

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

    from serval_client import Progress, Sample, Version

WATCH_SECONDS = 0.5


@dataclass(frozen=True)
class Upload:
    """What to upload, as given on the command line."""

    file: Path
    name: str | None = None
    description: str | None = None
    columns: str | None = None
    sample: Path | None = None
    no_expected_answers: bool = False
    allow_schema_change: bool = False
    key_file: Path | None = None
    """The key of the server that serves this file alone, which shows what to do with it."""

    @property
    def names(self) -> list[str] | None:
        """The names of the columns, if they were given."""
        return [column.strip() for column in self.columns.split(",")] if self.columns else None


def push_once(server: Remote, upload: Upload) -> int:
    """Upload, wait, print. Returns the exit code. Raises RequestFailed if the version fails."""
    version = live_version_of(server, upload) if upload.key_file else None
    version = version or send(server, upload)
    if version["version"] == 1:
        warn_of_namesakes(server, version)
    server.show(version, lambda: print_version(version, server.api.url, upload.key_file))
    return DONE if version["is_live"] else HELD


def live_version_of(server: Remote, upload: Upload) -> dict[str, Any] | None:
    """The live version, if it was made of this very file: a server that starts again has no need to convert it."""
    from serval_client.arguments import name_from

    name = upload.name or name_from(upload.file)
    listed = server.api.get("/api/v1/models")["items"]
    live = next((model["live_version"] for model in listed if model["name"] == name), None)
    if live is None:
        return None
    version: dict[str, Any] = server.api.get(f"/api/v1/models/{name}/versions/{live}")
    with upload.file.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return version if version["source_sha256"] == digest else None


def send(server: Remote, upload: Upload) -> dict[str, Any]:
    """Upload and wait until the version is ready. Raises RequestFailed with the reason if it fails, Interrupted."""
    from serval_client import Progress
    from serval_client.arguments import name_from

    with progress() as bar:
        bar.show(Progress("reading the file" if upload.no_expected_answers else "asking the model"))
        sample, problem = sample_of(upload)
        with server.api.failing():
            started = server.api.client.models.upload(
                upload.file,
                name=upload.name or name_from(upload.file),
                sample=sample,
                columns=upload.names,
                description=upload.description or None,
                allow_schema_change=upload.allow_schema_change,
                progress=bar.show,
            )
        version = waited(server, started, bar.show)
    failure = version["failure"]
    if problem and not (failure and failure["message"] == problem):
        sys.stderr.write(f"serval: pushed without expected answers: {escaped_lines(problem)}\n")
    if failure:
        raise RequestFailed(failure["message"])
    return version


def waited(server: Remote, started: "Version", show: "Callable[[Progress], None]") -> dict[str, Any]:
    """Wait until a conversion has ended; `show` gets each stage. Returns the version as the API has it.

    Raises Interrupted for Ctrl-C.
    """
    from serval_client import Refused
    from serval_client.paths import version_path

    try:
        with server.api.failing(), suppress(Refused):  # the version says why
            server.api.client.models.wait(started, progress=show)
        path = version_path(started.model_id, started.version)
        version: dict[str, Any] = server.api.get(path)
    except KeyboardInterrupt:
        name = started.model
        raise Interrupted(
            f"the server goes on with {name} version {started.version}; `serval model show {name}` shows what became"
            " of it"
        ) from None
    return version


def sample_of(upload: Upload) -> "tuple[Sample | None, str | None]":
    """Rows with the answers of the file in this environment, or the given rows unchanged; and the problem, where there
    are no answers."""
    if upload.no_expected_answers:
        from serval_client import Sample

        return (Sample(upload.sample.read_text(encoding="utf-8")) if upload.sample else None), None
    from serval.commands.expected_answers import expected_sample

    return expected_sample(upload.file, upload.sample, upload.names)


def print_version(version: dict[str, Any], url: str, key_file: Path | None) -> None:
    """`key_file`: its key is in the request that is shown, and the server runs until Ctrl-C."""
    say(f"{version['model']} version {version['version']} is {'live' if version['is_live'] else version['status']}")
    print_report(version)
    if key_file is None:
        if version["curl"]:
            say(version["curl"])
        return
    say("")
    say(f"address  {url} (documentation at {url}/docs)")
    say(f"key      {key_file}")
    if version["curl"]:
        say(f"example  {version['curl'].replace('$SERVAL_KEY', f'$(cat {shlex.quote(str(key_file))})')}")
    say("Ctrl-C stops the server.")


def watch(server: Remote, upload: Upload, uploaded_at: int | None) -> None:
    """Upload again after each change; a file that fails is reported, and the live version stays.

    `uploaded_at`: `changed_at` of the file before it was read for the first upload.
    """
    while True:
        time.sleep(WATCH_SECONDS)
        now = changed_at(upload.file)
        if now in {uploaded_at, None} or now != settled(upload.file):
            continue
        uploaded_at = now
        try:
            push_once(server, upload)
        except Interrupted:
            raise
        except (CommandFailed, ServalError) as error:
            sys.stderr.write(f"serval: {escaped_lines(error.message)}\n")


def changed_at(file: Path) -> int | None:
    try:
        return file.stat().st_mtime_ns
    except FileNotFoundError:
        return None


def settled(file: Path) -> int | None:
    """When it changed last, read after a moment: a file that is still being written is not uploaded."""
    time.sleep(WATCH_SECONDS)
    return changed_at(file)


class Bar:
    """Progress on a terminal: what is going on, for how long, and of an upload the bytes that were sent."""

    def __init__(self, rich_progress: "RichProgress") -> None:
        self._progress = rich_progress
        self._stage: str | None = None
        self._task: TaskID | None = None

    def show(self, moment: "Progress") -> None:
        if moment.stage != self._stage or self._task is None:
            if self._task is not None:
                self._progress.remove_task(self._task)
            self._stage, self._task = moment.stage, self._progress.add_task(moment.stage, total=moment.total_bytes)
        if moment.done_bytes is not None:
            self._progress.update(self._task, completed=moment.done_bytes)


@contextmanager
def progress() -> Iterator[Bar]:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Task, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as RichProgress
    from rich.text import Text

    class SentColumn(DownloadColumn):
        def render(self, task: Task) -> Text:
            return Text("") if task.total is None else super().render(task)

    columns = (TextColumn("{task.description}"), BarColumn(), SentColumn(), TimeElapsedColumn())
    with RichProgress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        yield Bar(bar)
