"""The command line: `serval COMMAND`; each command has its own module."""

import sys
from collections.abc import Mapping
from difflib import get_close_matches
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

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            near = get_close_matches(args[0], COMMANDS, n=1)
            hint = f" Did you mean `{near[0]}`?" if near else ""
            raise click.UsageError(f"No such command: `{args[0]}`.{hint}", ctx=ctx)
        return super().resolve_command(ctx, args)


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="serval", message="%(prog)s %(version)s")
def cli() -> None:
    """Serval turns a trained model file into a fast, safe HTTP prediction service."""


def main(arguments: list[str] | None = None) -> None:
    """Run a command and exit. An expected error is one line on stderr, and an exit code of `serval.commands.failure`.

    `arguments`: by default those of this process.
    """
    try:
        code = cli(arguments, prog_name="serval", standalone_mode=False)
    except click.ClickException as error:
        sys.exit(_report(error.format_message() + _where_to_look(error), error.exit_code))
    except (click.Abort, KeyboardInterrupt):
        sys.exit(_report("interrupted", 130))
    except Exception as error:
        from serval.commands.failure import FAILED, CommandFailed
        from serval.errors import ServalError

        if not isinstance(error, ServalError | CommandFailed):
            raise
        sys.exit(_report(error.message, getattr(error, "exit_code", FAILED)))
    sys.exit(code if isinstance(code, int) else 0)


def _report(message: str, exit_code: int) -> int:
    from serval.commands.output import escaped_lines

    sys.stderr.write(f"serval: {escaped_lines(message)}\n")
    return exit_code


def _where_to_look(error: click.ClickException) -> str:
    """Name the help text of the command that was used wrongly."""
    context = error.ctx if isinstance(error, click.UsageError) else None
    stop = "" if error.message.endswith((".", "?")) else "."
    return stop if context is None else f"{stop} See `{context.command_path} --help`."


if __name__ == "__main__":
    main()
