"""The command line: `serval COMMAND`; each command has its own module."""

import sys
from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType
from typing import Any

import rich_click as click

from serval import __version__

COMMANDS: Mapping[str, str] = MappingProxyType(
    {
        "serve": "serve",
        "check": "check",
        "model": "model",
        "predict": "predict",
        "key": "key",
        "user": "user",
        "demo": "demo",
        "migrate": "migrate",
        "diagnose": "diagnose",
    }
)
"""Command → module in `serval.commands` with a function of the same name."""


class Commands(click.RichGroup):
    """Loads only the command that is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 Click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 Click's signature
        if cmd_name not in COMMANDS:
            return None
        command: Any = getattr(import_module(f"serval.commands.{COMMANDS[cmd_name]}"), cmd_name)
        assert isinstance(command, click.Command)  # noqa: S101
        return command


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="serval", message="%(prog)s %(version)s")
def cli() -> None:
    """Serval turns a trained model file into a fast, safe HTTP prediction service."""


def main() -> None:
    """Run a command; an expected error is one line on stderr and exit code 1."""
    try:
        cli()
    except Exception as error:
        from serval.commands.output import escaped_lines
        from serval.errors import ServalError

        if not isinstance(error, ServalError):
            raise
        sys.stderr.write(f"serval: {escaped_lines(error.message)}\n")
        sys.exit(1)


if __name__ == "__main__":
    main()
