"""`serval completion`: the script that makes a shell complete commands, options and names of models."""

import os
from contextlib import closing

import rich_click as click
from click import Context, Parameter
from click.shell_completion import CompletionItem, get_completion_class

PATIENCE_SECONDS = 0.5
"""How long a server may take to list its models while somebody waits for a word."""
SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print the completion script of SHELL.

    Run it when a shell starts, as in ~/.bashrc: eval "$(serval completion bash)".
    """
    from serval.commands.cli import cli

    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101 one of SHELLS
    # Click's own `source` refuses a Bash that it cannot find, although the script may be for another machine.
    made = kind(cli, {}, "serval", "_SERVAL_COMPLETE")
    click.echo(made.source_template % made.source_vars())


def model_names(ctx: Context, _: Parameter, incomplete: str) -> list[CompletionItem]:
    """The models that the caller may see, as commands call them; none where a server does not answer quickly."""
    from serval.commands.credentials import Credential, find_key
    from serval.commands.failure import CommandFailed
    from serval.commands.remote import Api, address
    from serval.errors import ServalError

    url = ctx.params.get("url") or os.environ.get("SERVAL_URL") or None
    key = ctx.params.get("api_key") or os.environ.get("SERVAL_KEY") or None
    data_dir = ctx.params.get("data_dir")
    try:
        base = address(url, data_dir, has_key=key is not None)
        given = None if key is None else Credential(key, "")
        credential = find_key(given, data_dir, base, is_url_given=url is not None)
        with closing(Api(credential.address or base, credential.key, quick_seconds=PATIENCE_SECONDS)) as api:
            listed = api.get("/api/v1/models")["items"]
    except (ServalError, CommandFailed, click.ClickException):
        return []
    names = sorted(each["name"] if each["access"] == "own" else f"{each['owner']}/{each['name']}" for each in listed)
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]
