"""`serval model share` and its like: who else may use a model."""

from typing import Any
from urllib.parse import quote

import rich_click as click

from serval.commands.completion import model_names
from serval.commands.failure import CommandFailed
from serval.commands.output import say
from serval.commands.references import path_of
from serval.commands.remote import Remote, remote

COLUMNS = {"user": "user", "permission": "permission", "created_at": "since", "id": "id"}
EVERYBODY = "everybody"


def with_whom(user: str | None, *, everybody: bool) -> dict[str, object]:
    """The members of a request that say with whom a model is shared. Raises UsageError."""
    if (user is None) is not everybody:
        raise click.UsageError("Give either USER or `--everybody`.")
    return {"everybody": True} if user is None else {"user": user}


@click.command()
@click.argument("model", shell_complete=model_names)
@click.argument("user", required=False)
@click.option("--everybody", is_flag=True, help="Share with all users of the server, for predict only.")
@click.option(
    "--permission",
    type=click.Choice(["predict", "manage"]),
    default="predict",
    help="predict (the default): request predictions; manage: also upload, promote and test versions.",
)
@remote
def share(server: Remote, model: str, user: str | None, everybody: bool, permission: str) -> None:
    """Share MODEL with USER, a username, an id or an e-mail address, or change the permission of a share."""
    body = with_whom(user, everybody=everybody) | {"permission": permission}
    path = path_of(server, model)
    shared = server.api.put(f"{path}/shares", body)

    def as_text() -> None:
        found = server.api.get(path)
        say(f"{found['owner']}/{found['name']} is shared with {user_of(shared)} for {permission}")

    server.show(shared, as_text)


@click.command()
@click.argument("model", shell_complete=model_names)
@click.argument("user", required=False)
@click.option("--everybody", is_flag=True, help="End the share with all users.")
@remote
def unshare(server: Remote, model: str, user: str | None, everybody: bool) -> None:
    """End the share of MODEL with USER: a username, an id, an e-mail address, or the id of the share."""
    with_whom(user, everybody=everybody)
    path = path_of(server, model)
    reference = share_with_everybody(server, path, model) if user is None else user
    server.api.delete(f"{path}/shares/{quote(reference, safe='')}")
    ended = {"model": model, "user": user, "everybody": everybody, "shared": False}
    server.show(ended, lambda: say(f"{model} is no longer shared with {user or EVERYBODY}"))


@click.command()
@click.argument("model", shell_complete=model_names)
@remote
def shares(server: Remote, model: str) -> None:
    """List with whom MODEL is shared."""
    listed = server.api.get(f"{path_of(server, model)}/shares")

    def as_text() -> None:
        if not listed["items"]:
            say(f"{model} is shared with nobody")
            return
        server.table([each | {"user": user_of(each)} for each in listed["items"]], COLUMNS)

    server.show(listed, as_text)


def share_with_everybody(server: Remote, path: str, model: str) -> str:
    """The id of the share. Raises CommandFailed where there is none."""
    listed = server.api.get(f"{path}/shares")["items"]
    found = next((each["id"] for each in listed if each["everybody"]), None)
    if found is None:
        raise CommandFailed(f"`{model}` is not shared with everybody; `serval model shares {model}` lists its shares")
    return str(found)


def user_of(shared: dict[str, Any]) -> str:
    return EVERYBODY if shared["everybody"] else str(shared["user"])


COMMANDS = (share, unshare, shares)
