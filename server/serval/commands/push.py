"""Uploads a model file: with its expected answers, a progress bar, and again when it changes."""

import hashlib
import re
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from serval.commands.failure import DONE, HELD, CommandFailed, Interrupted, RequestFailed
from serval.commands.output import escaped_lines, say
from serval.commands.references import warn_of_namesakes
from serval.commands.remote import Remote
from serval.commands.reports import print_report
from serval.errors import ServalError

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

HELD_SECONDS = 10
"""How long the server may hold a request for the state of a conversion; then its stage is shown."""
MIN_PAUSE_SECONDS = 0.5
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
    with progress() as bar, upload.file.open("rb") as file:
        bar.show("reading the file" if upload.no_expected_answers else "asking the model")
        fields = fields_of(upload)
        problem = fields.pop("problem", None)
        content = bar.reading(file, upload.file.stat().st_size)
        version = server.api.upload(
            "/api/v1/models/upload", fields, {"file": (upload.file.name, content)}, prefer="wait=0"
        )
        version = waited(server, version, bar.show)
    failure = version["failure"]
    if problem and not (failure and failure["message"] == problem):
        sys.stderr.write(f"serval: pushed without expected answers: {escaped_lines(problem)}\n")
    if failure:
        raise RequestFailed(failure["message"])
    return version


def waited(server: Remote, version: dict[str, Any], show: Callable[[str], None]) -> dict[str, Any]:
    """Wait until a conversion has ended, by requests that the server holds; `show` gets each stage.

    Raises Interrupted for Ctrl-C.
    """
    pause = MIN_PAUSE_SECONDS
    try:
        while version["status"] not in {"ready", "failed"}:
            show(version["status"])
            began = time.monotonic()
            path = f"/api/v1/models/{version['model_id']}/versions/{version['version']}"
            version = server.api.get(path, prefer=f"wait={HELD_SECONDS}")
            if time.monotonic() - began < HELD_SECONDS / 2 and version["status"] not in {"ready", "failed"}:
                time.sleep(pause)  # another server of the same database converts it
                pause = min(2 * pause, HELD_SECONDS)
    except KeyboardInterrupt:
        name = version["model"]
        raise Interrupted(
            f"the server goes on with {name} version {version['version']}; `serval model show {name}` shows what became"
            " of it"
        ) from None
    return version


def fields_of(upload: Upload) -> dict[str, str]:
    """The form fields sent with the file."""
    import msgspec

    fields = {"name": upload.name or name_from(upload.file)}
    if upload.description:
        fields["description"] = upload.description
    if upload.columns:
        fields["columns"] = msgspec.json.encode([column.strip() for column in upload.columns.split(",")]).decode()
    if upload.allow_schema_change:
        fields["allow_schema_change"] = "true"
    given = expected_of(upload)
    return fields | {name: value for name, value in given.items() if value}


def expected_of(upload: Upload) -> dict[str, str | None]:
    """The fields `sample` and `expected_with`: rows with the answers of the file in this environment, or the given rows
    unchanged; and the `problem`, which is not sent, where there are no answers."""
    if upload.no_expected_answers:
        return {"sample": upload.sample.read_text(encoding="utf-8") if upload.sample else None}
    from serval.commands.expected_answers import expected_sample

    return expected_sample(upload.file, upload.sample)._asdict()


def name_from(file: Path) -> str:
    """`My Model (2).pkl` → `my-model-2`."""
    name = re.sub(r"[^a-z0-9._]+", "-", file.name.lower().split(".")[0]).strip("-._")[:50].strip("-._")
    return name if len(name) >= 3 else f"model-{name}".strip("-")


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

    def __init__(self, rich_progress: "Progress") -> None:
        self._progress = rich_progress
        self._stage: str | None = None
        self._task: TaskID | None = None

    def reading(self, file: BinaryIO, size: int) -> BinaryIO:
        """The file, counted as it is read."""
        return self._progress.wrap_file(file, task_id=self._enter("uploading", size))

    def show(self, stage: str) -> None:
        if stage != self._stage:
            self._enter(stage, None)

    def _enter(self, stage: str, total: int | None) -> "TaskID":
        if self._task is not None:
            self._progress.remove_task(self._task)
        self._stage, self._task = stage, self._progress.add_task(stage, total=total)
        return self._task


@contextmanager
def progress() -> Iterator[Bar]:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, Task, TextColumn, TimeElapsedColumn
    from rich.text import Text

    class SentColumn(DownloadColumn):
        def render(self, task: Task) -> Text:
            return Text("") if task.total is None else super().render(task)

    columns = (TextColumn("{task.description}"), BarColumn(), SentColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        yield Bar(bar)
