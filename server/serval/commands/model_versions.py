"""`serval model versions` and its like: lists versions, names their columns, and changes what is said of a model."""

from typing import Any

import rich_click as click

from serval.commands.completion import model_names
from serval.commands.output import say
from serval.commands.references import path_of
from serval.commands.remote import Remote, remote

NUMBER = click.IntRange(min=1)
COLUMNS = {
    "version": "version",
    "status": "status",
    "lifecycle": "lifecycle",
    "is_live": "live",
    "created_at": "created",
    "filename": "file",
}


@click.command()
@click.argument("model", shell_complete=model_names)
@remote
def versions(server: Remote, model: str) -> None:
    """List the versions of MODEL, newest first, and why any failed or is held."""
    listed = server.api.get(f"{path_of(server, model)}/versions")
    server.show(listed, lambda: print_versions(server, listed["items"]))


def print_versions(server: Remote, listed: list[dict[str, Any]]) -> None:
    server.table(listed, COLUMNS)
    for version in listed:
        if reason := version["failure"] or (None if version["is_live"] else version["held"]):
            say(f"version {version['version']}: {reason['message']}")


@click.command("set-columns")
@click.argument("model", shell_complete=model_names)
@click.argument("version", type=NUMBER)
@click.argument("names", nargs=-1, required=True)
@remote
def set_columns(server: Remote, model: str, version: int, names: tuple[str, ...]) -> None:
    """Name the columns of VERSION of MODEL, which was fitted without names: NAMES in the order of its columns."""
    changed = server.api.patch(f"{path_of(server, model)}/versions/{version}", {"columns": list(names)})
    told = f"{changed['model']} version {version} has the columns {', '.join(names)}"
    server.show(changed, lambda: say(told))


@click.command()
@click.argument("model", shell_complete=model_names)
@click.option("--description", help="Description of the model.")
@click.option("--cache", type=click.Choice(["auto", "l1", "l2", "off"]), help="Cache levels of its predictions.")
@click.option("--cache-ttl", type=click.FloatRange(min=0), help="Seconds that the first cache level keeps an answer.")
@click.option("--cache-l2-ttl", type=click.FloatRange(min=0), help="Seconds that Redis keeps an answer.")
@remote
def update(
    server: Remote,
    model: str,
    description: str | None,
    cache: str | None,
    cache_ttl: float | None,
    cache_l2_ttl: float | None,
) -> None:
    """Change the description or the cache of MODEL."""
    given = {
        "description": description,
        "cache": cache,
        "cache_ttl_seconds": cache_ttl,
        "cache_l2_ttl_seconds": cache_l2_ttl,
    }
    body = {name: value for name, value in given.items() if value is not None}
    if not body:
        raise click.UsageError("Give at least one option that says what to change.")
    changed = server.api.patch(path_of(server, model), body)
    server.show(changed, lambda: say(f"{changed['name']} is changed"))


COMMANDS = (versions, set_columns, update)
