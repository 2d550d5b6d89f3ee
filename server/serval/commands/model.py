"""`serval model`: uploads models and shows them."""

import sys
from pathlib import Path
from typing import Any

import rich_click as click

from serval.commands import model_releases, model_shares, model_testing, model_versions
from serval.commands.completion import model_names
from serval.commands.model_versions import print_versions
from serval.commands.output import say
from serval.commands.references import called, caller_of, path_of
from serval.commands.remote import Remote, remote
from serval.commands.signatures import print_signature

LISTED = {
    "name": "name",
    "live_version": "live version",
    "owner": "owner",
    "created_at": "created",
    "description": "description",
}


@click.group()
def model() -> None:
    """Upload models, list them, and show their versions and reports."""


@model.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--name", help="Name of the model; by default made from the file's name.")
@click.option("--description", help="Description of the model.")
@click.option("--columns", help="Comma-separated column names, for a model that was fitted on plain arrays.")
@click.option(
    "--sample",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Rows to verify with: CSV with a header, or JSON.",
)
@click.option("--no-expected-answers", is_flag=True, help="Do not load the file here to compute its expected answers.")
@click.option(
    "--allow-schema-change",
    is_flag=True,
    help="Promote the version even if its columns differ from those of the live version.",
)
@click.option("--served-with-key", "key_file", hidden=True, type=click.Path(path_type=Path))
@click.option("--watch", is_flag=True, help="Keep running, and upload again whenever the file changes.")
@remote
def push(server: Remote, /, **options: Any) -> None:
    """Upload FILE, wait for its conversion and show its report.

    Loads the file here, in your environment, and sends its answers with it,
    so that a difference caused by another version of scikit-learn is detected.
    """
    from serval.commands.push import Upload, changed_at, push_once, watch

    wants_watch = options.pop("watch")
    if options["name"] == "":
        raise click.UsageError("`--name` is empty.")
    upload = Upload(**options)
    uploaded_at = changed_at(upload.file)
    exit_code = push_once(server, upload)
    if wants_watch:
        watch(server, upload, uploaded_at)
    sys.exit(exit_code)


@model.command("list")
@click.option("--deleted", is_flag=True, help="List the deleted models that you may restore, the last one first.")
@remote
def list_models(server: Remote, deleted: bool) -> None:
    """List the models that you may use; those of others as owner/name."""
    listed = server.api.get("/api/v1/models", {"deleted": "true"} if deleted else None)

    def as_text() -> None:
        caller = caller_of(server)
        columns = {"name": "name", "id": "id", "deleted_at": "deleted"} if deleted else LISTED
        server.table([each | {"name": called(each, caller)} for each in listed["items"]], columns)

    server.show(listed, as_text)


@model.command()
@click.argument("name", shell_complete=model_names)
@remote
def show(server: Remote, name: str) -> None:
    """Show the model NAME, its versions, and the columns and the example of the live or else the newest ready one."""
    path = path_of(server, name)
    details, versions = server.api.get(path), server.api.get(f"{path}/versions")["items"]

    def as_text() -> None:
        say(f"{details['name']}  ({details['id']}, owned by {details['owner']})")
        if details["description"]:
            say(details["description"])
        print_versions(server, versions)
        converted = [version for version in versions if version["signature"]]
        described = next((version for version in converted if version["is_live"]), next(iter(converted), None))
        if described:
            say("")
            print_signature(server, described)

    server.show(details | {"versions": versions}, as_text)


@model.command()
@click.argument("name", shell_complete=model_names)
@click.option(
    "--version",
    type=click.IntRange(min=1),
    help="Version number; by default the live one, or the newest if none is live.",
)
@remote
def report(server: Remote, name: str, version: int | None) -> None:
    """Show the conversion report of a version: how closely it matches the original."""
    from serval.commands.reports import print_report

    path = path_of(server, name)
    result = server.api.get(f"{path}/versions/{version or newest_or_live(server, path)}/report")
    server.show(result, lambda: print_report(result))


def newest_or_live(server: Remote, path: str) -> int:
    live = server.api.get(path)["live_version"]
    return int(live or server.api.get(f"{path}/versions")["items"][0]["version"])


for module in (model_releases, model_versions, model_shares, model_testing):
    for command in module.COMMANDS:
        model.add_command(command)
