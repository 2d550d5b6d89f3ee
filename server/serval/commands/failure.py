"""How commands fail: one line on stderr, an exit code for programs, and with `--json` a problem document."""

from collections.abc import Mapping

DONE, FAILED, USAGE, HELD, REFUSED, UNREACHABLE, INTERRUPTED = 0, 1, 2, 3, 4, 5, 130
"""Exit codes; docs/cli.md says what each means."""


class CommandFailed(Exception):
    """A command that cannot do its work, with the sentence to show and the exit code."""

    exit_code = FAILED
    code = "command_failed"
    title = "The command failed"

    def __init__(self, message: str, *, problem: Mapping[str, object] | None = None) -> None:
        """`problem`: the problem document of the server, if there is one."""
        super().__init__(message)
        self.message = message
        self.problem = problem or {"type": "about:blank", "title": self.title, "detail": message, "code": self.code}


class RequestFailed(CommandFailed):
    """The server refused a request, or failed to convert an upload."""

    exit_code = REFUSED
    code = "refused"
    title = "The server refused the request"


class Unreachable(CommandFailed):
    """No server answers at the address."""

    exit_code = UNREACHABLE
    code = "unreachable"
    title = "The server does not answer"


class Interrupted(CommandFailed):
    """Ctrl-C, while the server goes on with the work."""

    exit_code = INTERRUPTED
    code = "interrupted"
    title = "Interrupted"


def problem_with(exit_code: int, message: str) -> Mapping[str, object]:
    """The problem document of a command that was used wrongly, was interrupted, or failed."""
    kinds = {USAGE: ("Wrong usage", "usage"), INTERRUPTED: (Interrupted.title, Interrupted.code)}
    title, code = kinds.get(exit_code, (CommandFailed.title, CommandFailed.code))
    return {"type": "about:blank", "title": title, "detail": message, "code": code}


def problem_of(error: Exception) -> Mapping[str, object]:
    """The problem document of an expected error of a command."""
    if isinstance(error, CommandFailed):
        return error.problem
    message = getattr(error, "message", str(error))
    title, code = getattr(error, "title", CommandFailed.title), getattr(error, "code", CommandFailed.code)
    return {"type": "about:blank", "title": title, "detail": message, "code": code}
