"""How commands name models: by name, id or `owner/name`."""

import sys
from collections.abc import Callable
from difflib import get_close_matches
from typing import Any

import rich_click as click

from serval.commands.failure import CommandFailed, RequestFailed
from serval.commands.remote import Remote


def path_of(server: Remote, model: str) -> str:
    """The path of a model by its name, id or `owner/name`. Raises CommandFailed where a list does not have it."""
    if "/" in model:
        owner, _, name = model.partition("/")
        found = [each["id"] for each in models_of(server) if (each["owner"], each["name"]) == (owner, name)]
        if not found:
            raise CommandFailed(f"there is no model `{model}` that you may see; `serval model list` shows all")
        (model,) = found
    from serval_client.paths import model_path

    return named(model_path, model)


def named(path: Callable[[str], str], model: str) -> str:
    """The path of a model. Raises UsageError for text that is no name."""
    try:
        return path(model)
    except ValueError as error:
        raise click.UsageError(f"{error}.") from error


def models_of(server: Remote) -> list[dict[str, Any]]:
    """The models that the caller may see."""
    items: list[dict[str, Any]] = server.api.get("/api/v1/models")["items"]
    return items


def called(model: dict[str, Any], caller: str) -> str:
    """What a user calls a model: by its name where it is theirs, else `owner/name`."""
    return str(model["name"]) if model["owner"] == caller else f"{model['owner']}/{model['name']}"


def caller_of(server: Remote) -> str:
    """The username of who calls."""
    return str(server.api.get("/api/v1/auth/me")["username"])


def with_near_names(server: Remote, model: str, error: RequestFailed) -> RequestFailed:
    """The error of an unknown model, with what may have been meant: a model of others by that name, or a near one."""
    try:
        listed, caller = models_of(server), caller_of(server)
    except CommandFailed:  # a key that may only predict cannot list models
        return error
    if any(model in {each["id"], called(each, caller), f"{each['owner']}/{each['name']}"} for each in listed):
        return error
    same = [called(each, caller) for each in listed if each["name"] == model]
    meant = same or get_close_matches(model, [called(each, caller) for each in listed], n=1)
    return RequestFailed(f"{error.message} Did you mean `{meant[0]}`?", problem=error.problem) if meant else error


def warn_of_namesakes(server: Remote, version: dict[str, Any]) -> None:
    """Say on standard error that a model is new, where one that is shared with the caller might have been meant."""
    for other in models_of(server):
        if other["name"] == version["model"] and other["access"] != "own":
            own, theirs = f"{version['owner']}/{version['model']}", f"{other['owner']}/{other['name']}"
            way = f"; `--name {theirs}` uploads its next version" if other["access"] == "manage" else ""
            sys.stderr.write(
                f"serval: {own} is a new model; {theirs}, shared with you for {other['access']}, is another{way}\n"
            )
