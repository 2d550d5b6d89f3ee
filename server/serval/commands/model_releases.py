"""`serval model promote` and its like: changes what is live, who may use it, and what is kept."""

from pathlib import Path
from typing import Any
from urllib.parse import quote

import rich_click as click

from serval.commands.completion import model_names
from serval.commands.failure import CommandFailed
from serval.commands.files import write_new
from serval.commands.model_versions import NUMBER
from serval.commands.output import say
from serval.commands.references import path_of
from serval.commands.remote import Remote, remote


@click.command()
@click.argument("model", shell_complete=model_names)
@click.argument("version", type=NUMBER)
@click.option("--allow-schema-change", is_flag=True, help="Even if its columns differ from those of the live version.")
@remote
def promote(server: Remote, model: str, version: int, allow_schema_change: bool) -> None:
    """Make VERSION of MODEL the live one."""
    body = {"allow_schema_change": allow_schema_change}
    _show(server, server.api.post(f"{path_of(server, model)}/versions/{version}/promote", body))


@click.command()
@click.argument("model", shell_complete=model_names)
@remote
def rollback(server: Remote, model: str) -> None:
    """Make the version live again that was live before."""
    _show(server, server.api.post(f"{path_of(server, model)}/rollback", {}))


@click.command()
@click.argument("model", shell_complete=model_names)
@click.argument("version", type=NUMBER)
@remote
def deprecate(server: Remote, model: str, version: int) -> None:
    """Mark VERSION of MODEL as deprecated."""
    _show(server, server.api.post(f"{path_of(server, model)}/versions/{version}/deprecate", {}))


@click.command()
@click.argument("model", shell_complete=model_names)
@click.argument("version", type=NUMBER)
@remote
def archive(server: Remote, model: str, version: int) -> None:
    """End the service of VERSION of MODEL permanently."""
    _show(server, server.api.post(f"{path_of(server, model)}/versions/{version}/archive", {}))


@click.command()
@click.argument("model", shell_complete=model_names)
@click.option("--purge", is_flag=True, help="Delete its files too, at once; nobody can restore it. Also a deleted one.")
@remote
def delete(server: Remote, model: str, purge: bool) -> None:
    """Delete MODEL; `serval model restore` brings it back, with its versions and shares."""
    if purge:
        server.api.delete(f"{path_of(server, model)}?purge=true")
        server.show({"model": model, "purged": True}, lambda: say(f"{model} is deleted for good, with its files"))
        return
    path = path_of(server, model)
    found = server.api.get(path)
    server.api.delete(path)
    told = f"{found['name']} is deleted; `serval model restore {found['id']}` restores it"
    server.show({"id": found["id"], "deleted": True}, lambda: say(told))


@click.command()
@click.argument("model", shell_complete=model_names)
@remote
def restore(server: Remote, model: str) -> None:
    """Restore the deleted MODEL, by its name, its id or owner/name; `serval model list --deleted` shows them."""
    restored = server.api.post(f"/api/v1/models/{quote(deleted_one(server, model), safe='')}/restore", {})
    server.show(restored, lambda: say(f"{restored['name']} is restored"))


def deleted_one(server: Remote, model: str) -> str:
    """What the server takes for a deleted model: `owner/name` as its id. Raises CommandFailed for none or several."""
    if "/" not in model:
        return model
    deleted = server.api.get("/api/v1/models", {"deleted": "true"})["items"]
    found = [each["id"] for each in deleted if f"{each['owner']}/{each['name']}" == model]
    if len(found) == 1:
        return str(found[0])
    many = f"{len(found)} deleted models are called `{model}`: name one by its id, {', '.join(found)}"
    raise CommandFailed(
        many if found else f"there is no deleted model `{model}`; `serval model list --deleted` shows all"
    )


@click.command()
@click.argument("model", shell_complete=model_names)
@click.argument("version", type=NUMBER)
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@remote
def download(server: Remote, model: str, version: int, file: Path) -> None:
    """Write the ONNX file of VERSION of MODEL to the new FILE."""
    try:
        with server.api.reading(f"{path_of(server, model)}/versions/{version}/download") as parts:
            size = write_new(file, parts)
    except OSError as error:
        raise CommandFailed(f"`{file}` cannot be written: {(error.strerror or '').lower()}") from error
    server.show({"file": str(file), "bytes": size}, lambda: say(f"{file}: {size} bytes"))


COMMANDS = (promote, rollback, deprecate, archive, delete, restore, download)


def _show(server: Remote, version: dict[str, Any]) -> None:
    state = "live" if version["is_live"] else version["lifecycle"]
    server.show(version, lambda: say(f"{version['model']} version {version['version']} is {state}"))
