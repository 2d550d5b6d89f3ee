"""Runs commands in the process of a test: a start of Python would cost more than what is tested."""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from click.testing import CliRunner

from serval.commands.cli import main
from support.http_client import Client


class Ran(NamedTuple):
    """What a command wrote, and its exit code."""

    code: int
    out: str
    err: str


def run(*arguments: object, at: Client | None = None, folder: Path, text: str | None = None, **settings: str) -> Ran:
    """Run a command in a folder; `at`: the server that it talks to."""
    address = {} if at is None else {"SERVAL_URL": at.url, "SERVAL_KEY": at.key}
    config = {"XDG_CONFIG_HOME": str(folder / ".config")}
    with (
        environment(config | address | settings),
        contextlib.chdir(folder),
        CliRunner().isolation(text) as (out, err, _),
    ):
        code = exit_code([str(argument) for argument in arguments])
        sys.stdout.flush()
        sys.stderr.flush()
        return Ran(code, out.getvalue().decode(), err.getvalue().decode())


def exit_code(arguments: list[str]) -> int:
    try:
        main(arguments)
    except SystemExit as end:
        return int(end.code or 0)
    return 0


@contextlib.contextmanager
def environment(settings: dict[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    for name in [name for name in before if name.startswith("SERVAL_")]:
        del os.environ[name]
    os.environ.update(settings)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
