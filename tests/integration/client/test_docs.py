"""The Python examples of the docs run in order, and print what the docs show."""

import contextlib
import io
import re
from pathlib import Path
from typing import Any

import joblib
import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

import serval_client as serval
from support import users
from support.http_client import Client as Server

DOCS = Path(__file__).parents[3] / "docs"
EVERYTHING = ["predict", "models:read", "models:write", "admin"]
NAMES = ["sepal_length", "sepal_width", "petal_length", "petal_width"]
EXAMPLE = re.compile(r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```$)?", re.MULTILINE | re.DOTALL)


def examples(page: str) -> list[tuple[str, str]]:
    """The code of each Python block, and what a block of text right after it shows."""
    return EXAMPLE.findall((DOCS / page).read_text())


@pytest.fixture
def folder(
    request: pytest.FixtureRequest, embedded_server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Path:
    """A fresh folder, and a user without models, to whom the environment belongs."""
    owner = users.person(embedded_server)
    monkeypatch.setenv("SERVAL_URL", embedded_server.url)
    monkeypatch.setenv("SERVAL_KEY", users.key_of(embedded_server, owner, scopes=EVERYTHING))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(page: str) -> None:
    found = examples(page)
    assert len(found) > 3
    names: dict[str, Any] = {}
    with contextlib.ExitStack() as opened:
        for code, shown in found:
            with contextlib.redirect_stdout(io.StringIO()) as printed:
                exec(compile(code, page, "exec"), names)
            if "client = serval.Client()" in code:
                opened.callback(names["client"].close)
            assert printed.getvalue() == shown, code


@pytest.mark.usefixtures("folder")
def test_the_examples_of_the_client_print_what_its_page_shows() -> None:
    run("client.md")


def test_the_examples_in_python_beside_each_request_work(folder: Path, embedded_server: Server) -> None:
    rows, labels = load_iris(return_X_y=True)
    joblib.dump(LogisticRegression(max_iter=1000).fit(rows, labels), folder / "model.pkl")
    users.register(embedded_server, username="bob")
    with serval.Client() as client:
        client.models.push(folder / "model.pkl", name="iris", sample=rows)
        client.models.push(folder / "model.pkl", name="iris", sample=rows, columns=NAMES, allow_schema_change=True)
    run("api.md")


def test_each_request_with_a_key_has_an_example_in_python() -> None:
    blocks = re.findall(r"^```(\w+)\n(.*?)^```$", (DOCS / "api.md").read_text(), re.MULTILINE | re.DOTALL)
    requests = [index for index, (kind, code) in enumerate(blocks) if kind == "sh" and "X-API-Key" in code]
    assert len(requests) > 10
    after = {blocks[index][1]: [kind for kind, _ in blocks[index + 1 : index + 3]] for index in requests}
    assert [code for code, kinds in after.items() if "python" not in kinds] == []
