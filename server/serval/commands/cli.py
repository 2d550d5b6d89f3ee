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
        "login": "login",
        "logout": "login",
        "whoami": "login",
        "key": "key",
        "user": "user",
        "history": "history",
        "audit": "audit",
        "demo": "demo",
        "migrate": "migrate",
        "verify-data": "verify_data",
        "diagnose": "diagnose",
        "completion": "completion",
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
        module = import_module(f"serval.commands.{COMMANDS[cmd_name]}")
        command: Any = getattr(module, cmd_name.replace("-", "_"))
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
    as_json = _wants_json(sys.argv[1:] if arguments is None else arguments)
    try:
        code = cli(arguments, prog_name="serval", standalone_mode=False)
    except click.ClickException as error:
        code = error.exit_code
        sys.exit(_report(error.format_message() + _where_to_look(error), code, as_json=as_json))
    except (click.Abort, KeyboardInterrupt):
        sys.exit(_report("interrupted", 130, as_json=as_json))
    except Exception as error:
        from serval.commands.failure import FAILED, CommandFailed
        from serval.errors import ServalError

        if not isinstance(error, ServalError | CommandFailed):
            raise
        sys.exit(_report(error.message, getattr(error, "exit_code", FAILED), error, as_json=as_json))
    sys.exit(code if isinstance(code, int) else 0)


def _wants_json(arguments: list[str]) -> bool:
    return "--json" in (arguments[: arguments.index("--")] if "--" in arguments else arguments)


def _report(message: str, exit_code: int, error: Exception | None = None, *, as_json: bool) -> int:
    """Say on standard error what failed, and for programs as a problem document on standard output."""
    from serval.commands.output import escaped_lines

    if as_json:
        import msgspec

        from serval.commands.failure import problem_of, problem_with

        problem = problem_with(exit_code, message) if error is None else problem_of(error)
        click.echo(msgspec.json.encode(problem, enc_hook=str))
    sys.stderr.write(f"serval: {escaped_lines(message)}\n")
    return exit_code


def _where_to_look(error: click.ClickException) -> str:
    """Name the help text of the command that was used wrongly."""
    context = error.ctx if isinstance(error, click.UsageError) else None
    stop = "" if error.message.endswith((".", "?")) else "."
    return stop if context is None else f"{stop} See `{context.command_path} --help`."


if __name__ == "__main__":
    main()
