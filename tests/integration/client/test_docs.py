"""The Python examples of the docs run in order, and print what the docs show."""

import contextlib
import io
import re
from pathlib import Path
from typing import Any

import pytest

from support import users
from support.http_client import Client as Server

DOCS = Path(__file__).parents[3] / "docs"
EXAMPLE = re.compile(r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```$)?", re.MULTILINE | re.DOTALL)


def examples(page: str) -> list[tuple[str, str]]:
    """The code of each Python block, and what a block of text right after it shows."""
    return EXAMPLE.findall((DOCS / page).read_text())


@pytest.mark.parametrize("page", ["client.md"])
def test_the_examples_of_a_page_print_what_it_shows(
    embedded_server: Server, monkeypatch: pytest.MonkeyPatch, page: str
) -> None:
    key = users.key_of(embedded_server, users.person(embedded_server))
    monkeypatch.setenv("SERVAL_URL", embedded_server.url)
    monkeypatch.setenv("SERVAL_KEY", key)
    found = examples(page)
    assert len(found) > 3
    names: dict[str, Any] = {}
    for code, shown in found:
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(compile(code, page, "exec"), names)
        assert printed.getvalue() == shown
    names["client"].close()
