"""The commands of the pages that a new user follows, in order, against a real server, with what they print."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple, Self

import pytest

from support.processes import running

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent.parent
BLOCK = re.compile(r"^```(python|console)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE_NAME = re.compile(r"[Ss]ave\s+it\s+as\s+`([\w.]+)`")
DOCUMENTED_ADDRESS = "127.0.0.1:8080"
END = "end of a command"


class Step(NamedTuple):
    """A command of a transcript, and the text below it."""

    command: str
    shown: str


class Shell:
    """A shell in which commands run one after the other, so that a variable that one sets is there for the next."""

    def __init__(self, folder: Path) -> None:
        environ = {name: value for name, value in os.environ.items() if not name.startswith("SERVAL_")}
        path = f"{Path(sys.executable).parent}:{environ['PATH']}"
        self._process = subprocess.Popen(
            ["bash", "--norc"],
            cwd=folder,
            env=environ | {"PATH": path, "HOME": str(folder)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, command: str) -> str:
        """What a command prints, with its errors; without the end of its last line."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(f"{{ {command}\n}} </dev/null\nprintf '\\n%s\\n' '{END}'\n")
        self._process.stdin.flush()
        lines = iter(self._process.stdout.readline, f"{END}\n")
        text = []
        for line in lines:
            assert line, "the shell has ended"
            text.append(line)
        return "".join(text).rstrip("\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate("exit\n")


def steps_of(block: str) -> Iterator[Step]:
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command = re.match(r"(?:[^\n]*\\\n)*[^\n]*", part)
        assert command
        yield Step(command[0], part[command.end() :].strip("\n"))


def is_shown(shown: str, printed: str) -> bool:
    """Whether a page shows what was printed: `...` stands for anything in a line, and alone for any lines."""
    pattern = "\n".join(
        ".*" if line == "..." else r"[^\n]*".join(map(re.escape, line.split("..."))) for line in shown.split("\n")
    )
    return re.fullmatch(pattern, printed, re.DOTALL) is not None


def test_three_dots_stand_for_what_differs_and_nothing_else_does() -> None:
    assert is_shown("took ... s\n...\nend", "took 0.2 s\none\ntwo\nend")
    assert not is_shown("took ... s", "took 0.2 s\nand more")
    assert not is_shown("version 1", "version 2")


@pytest.mark.parametrize("page", ["docs/tutorial.md"])
def test_the_commands_of_a_page_print_what_it_shows(page: str, tmp_path: Path) -> None:
    text = (ROOT / page).read_text()
    settings = {"SERVAL_PORT": "0", "SERVAL_METRICS_PORT": "0", "SERVAL_LOG_FORMAT": "json"}
    address, steps, servers = DOCUMENTED_ADDRESS, 0, 0
    with ExitStack() as stack:
        shell = stack.enter_context(Shell(tmp_path))
        for block in BLOCK.finditer(text):
            kind, content = block.groups()
            if kind == "python":
                name = FILE_NAME.findall(text[: block.start()])[-1]
                (tmp_path / name).write_text(content.replace(DOCUMENTED_ADDRESS, address))
                continue
            for step in steps_of(content):
                steps += 1
                if step.command.startswith("serval serve"):
                    command = [str(Path(sys.executable).with_name("serval")), *step.command.split()[1:]]
                    server = stack.enter_context(running(command, settings, cwd=tmp_path)).ready()
                    address, servers = f"127.0.0.1:{server.port}", servers + 1
                    continue
                printed = shell.run(step.command.replace(DOCUMENTED_ADDRESS, address))
                printed = printed.replace(address, DOCUMENTED_ADDRESS)
                assert is_shown(step.shown, printed), f"$ {step.command}\n{printed}"
    assert steps > 3
    assert servers == 1
