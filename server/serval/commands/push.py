"""Uploading a model file: with the answers it gives here, a progress bar, and again when it changes."""

import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import rich_click as click

from serval.commands.remote import Refused, Remote
from serval.commands.reports import print_report

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

POLL_SECONDS = 0.2
WATCH_SECONDS = 0.5


@dataclass(frozen=True)
class Upload:
    """What is to be uploaded, as the command line says it."""

    file: Path
    name: str | None = None
    description: str | None = None
    columns: str | None = None
    sample: Path | None = None
    no_expected_answers: bool = False
    allow_schema_change: bool = False


def push_once(here: Remote, upload: Upload) -> None:
    """Upload, wait, print. Raises Refused when the version fails."""
    version = send(here, upload)
    here.show(version, lambda: print_version(version))


def send(here: Remote, upload: Upload) -> dict[str, Any]:
    """Upload and wait until the version is ready. Raises Refused with the reason where it fails."""
    with progress(upload.file) as bar, upload.file.open("rb") as file:
        version = here.api.upload(
            "/api/v1/models/upload", fields_of(upload), {"file": (upload.file.name, bar.reading(file))}, prefer="wait=0"
        )
        while version["status"] not in {"ready", "failed"}:
            bar.say(version["status"])
            time.sleep(POLL_SECONDS)
            version = here.api.get(f"/api/v1/models/{version['model_id']}/versions/{version['version']}")
    if version["failure"]:
        raise Refused(version["failure"]["message"])
    found: dict[str, Any] = version
    return found


def fields_of(upload: Upload) -> dict[str, str]:
    """The form beside the file."""
    import msgspec

    fields = {"name": upload.name or name_from(upload.file)}
    if upload.description:
        fields["description"] = upload.description
    if upload.columns:
        fields["columns"] = msgspec.json.encode([column.strip() for column in upload.columns.split(",")]).decode()
    if upload.allow_schema_change:
        fields["allow_schema_change"] = "true"
    if sample := sample_of(upload):
        fields["sample"] = sample
    return fields


def sample_of(upload: Upload) -> str | None:
    """Rows with the answers that the file gives in this environment, or the given rows as they are."""
    if upload.no_expected_answers:
        return upload.sample.read_text(encoding="utf-8") if upload.sample else None
    from serval.commands.expected_answers import expected_sample

    return expected_sample(upload.file, upload.sample)


def name_from(file: Path) -> str:
    """`My Model (2).pkl` → `my-model-2`."""
    name = re.sub(r"[^a-z0-9._]+", "-", file.name.lower().split(".")[0]).strip("-._")[:50].strip("-._")
    return name if len(name) >= 3 else f"model-{name}".strip("-")


def print_version(version: dict[str, Any]) -> None:
    click.echo(
        f"{version['model']} version {version['version']} is {'live' if version['is_live'] else version['status']}"
    )
    print_report(version)
    if version["curl"]:
        click.echo(version["curl"])


def watch(here: Remote, upload: Upload, seen: int | None) -> None:
    """Upload again after each change; a file that fails is told and leaves the live version as it is.

    `seen`: what `changed_at` said before the file was read for the first upload.
    """
    while True:
        time.sleep(WATCH_SECONDS)
        now = changed_at(upload.file)
        if now in {seen, None} or now != settled(upload.file):
            continue
        seen = now
        try:
            push_once(here, upload)
        except Refused as error:
            sys.stderr.write(f"serval: {error.message}\n")


def changed_at(file: Path) -> int | None:
    try:
        return file.stat().st_mtime_ns
    except FileNotFoundError:
        return None


def settled(file: Path) -> int | None:
    """When it changed last, asked after a moment: a file that is still being written is not uploaded."""
    time.sleep(WATCH_SECONDS)
    return changed_at(file)


class Bar:
    """Progress on a terminal: bytes sent, then what the server is doing."""

    def __init__(self, rich_progress: "Progress", task: "TaskID") -> None:
        self._progress = rich_progress
        self._task = task

    def reading(self, file: BinaryIO) -> BinaryIO:
        """The file, counted as it is read."""
        return self._progress.wrap_file(file, task_id=self._task)

    def say(self, stage: str) -> None:
        self._progress.update(self._task, description=stage)


@contextmanager
def progress(file: Path) -> Iterator[Bar]:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        yield Bar(bar, bar.add_task("uploading", total=file.stat().st_size))
