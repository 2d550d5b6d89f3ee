"""`serval model`: upload models and look at them."""

from pathlib import Path
from typing import Any

import rich_click as click

from serval.commands.remote import Remote, remote


@click.group()
def model() -> None:
    """Upload models, list them, show what became of them."""


@model.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--name", help="Name of the model; made from the file's name by default.")
@click.option("--description", help="What it is.")
@click.option("--columns", help="Column names, separated by commas, for a model that was fitted on plain arrays.")
@click.option(
    "--sample",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Rows to verify with: CSV with a header, or JSON.",
)
@click.option(
    "--no-expected-answers", is_flag=True, help="Do not load the file here to compute the answers expected of it."
)
@click.option(
    "--allow-schema-change", is_flag=True, help="Go live also where the columns differ from those of the live version."
)
@click.option("--watch", is_flag=True, help="Stay, and upload again whenever the file changes.")
@remote
def push(here: Remote, /, **given: Any) -> None:
    """Upload FILE, wait for its conversion and show how true it is.

    The file is loaded here, in your own environment, to send along what it answers:
    so a difference that another version of scikit-learn makes is found.
    """
    from serval.commands.push import Upload, changed_at, push_once, watch

    wants_watch = given.pop("watch")
    upload = Upload(**given)
    seen = changed_at(upload.file)
    push_once(here, upload)
    if wants_watch:
        watch(here, upload, seen)


@model.command("list")
@remote
def list_models(here: Remote) -> None:
    """List your models."""
    found = here.api.get("/api/v1/models")
    columns = {
        "name": "name",
        "live_version": "live version",
        "owner": "owner",
        "created_at": "made",
        "description": "description",
    }
    here.show(found, lambda: here.table(found["items"], columns))


@model.command()
@click.argument("name")
@remote
def show(here: Remote, name: str) -> None:
    """Show the model NAME and its versions."""
    found = here.api.get(f"/api/v1/models/{name}")
    versions = here.api.get(f"/api/v1/models/{name}/versions")["items"]

    def as_text() -> None:
        click.echo(f"{found['name']}  ({found['id']}, owned by {found['owner']})\n{found['description']}".rstrip())
        columns = {
            "version": "version",
            "status": "status",
            "lifecycle": "lifecycle",
            "is_live": "live",
            "created_at": "made",
            "filename": "file",
        }
        here.table(versions, columns)

    here.show(found | {"versions": versions}, as_text)


@model.command()
@click.argument("name")
@click.option(
    "--version", type=click.IntRange(min=1), help="Number of the version; the live one, or else the newest, by default."
)
@remote
def report(here: Remote, name: str, version: int | None) -> None:
    """Show how truly a converted model answers."""
    from serval.commands.reports import print_report

    number = version or newest_or_live(here, name)
    found = here.api.get(f"/api/v1/models/{name}/versions/{number}/report")
    here.show(found, lambda: print_report(found))


def newest_or_live(here: Remote, name: str) -> int:
    live = here.api.get(f"/api/v1/models/{name}")["live_version"]
    return int(live or here.api.get(f"/api/v1/models/{name}/versions")["items"][0]["version"])
