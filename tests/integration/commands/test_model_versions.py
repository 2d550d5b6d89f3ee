"""Versions on the command line: what they take, why they are not live, tests, and names for columns."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from serval.commands.model_testing import has_passed
from support.command_line import run
from support.http_client import Client

Told = Callable[..., str]


@pytest.fixture
def told(embedded_server: Client, tmp_path: Path) -> Told:
    """Runs `serval model ...` and returns what it said."""

    def said(*arguments: object, code: int = 0) -> str:
        ran = run("model", *arguments, at=embedded_server, folder=tmp_path)
        assert ran.code == code, ran.err
        return ran.out or ran.err

    return said


def numbers(*, width: int = 1) -> bytes:
    return pickle.dumps(LogisticRegression().fit([[0.0] * width, [1.0] * width], ["low", "high"]))


def churn() -> bytes:
    """A model of a number, a category and a column that nothing reads."""
    rows = pd.DataFrame({"age": [20.0, 40.0, 60.0], "plan": ["free", "paid", "free"], "id": ["a", "b", "c"]})
    steps = make_column_transformer((OneHotEncoder(), ["plan"]), ("passthrough", ["age"]))
    return pickle.dumps(make_pipeline(steps, LogisticRegression()).fit(rows, [0, 1, 0]))


def test_show_lists_columns_with_kinds_and_categories_the_example_and_why_a_version_is_held(
    embedded_server: Client, told: Told
) -> None:
    assert embedded_server.upload("shown", churn()).status_code == 201
    assert embedded_server.upload("shown", numbers()).status_code == 409
    text = told("show", "shown")
    lines = [line.split() for line in text.splitlines()]
    assert ["age", "number", "float64"] in lines
    (plan,) = [line for line in lines if line[:2] == ["plan", "string"]]
    assert plan[-2:] == ["free,", "paid"]
    (unused,) = [line for line in lines if line[:2] == ["id", "unused"]]
    assert unused[-1] == "allowed"
    assert "version 1 is a classifier with the labels 0, 1\n" in text
    assert text.splitlines()[-1].startswith('example: {"input":{"age":')
    assert "version 2: " in text
    assert "columns have no names" not in text
    assert told("versions", "shown") in text
    assert [item["version"] for item in json.loads(told("versions", "shown", "--json"))["items"]] == [2, 1]


def test_columns_are_named_afterwards(embedded_server: Client, told: Told) -> None:
    assert embedded_server.upload("nameless", numbers(width=2)).status_code == 201
    assert "the columns have no names of their own" in told("show", "admin/nameless")
    named = told("set-columns", "nameless", 1, "height", "weight")
    assert named == "nameless version 1 has the columns height, weight\n"
    assert '{"height":' in told("show", "nameless")
    assert "have names already" in told("set-columns", "nameless", 1, "height", "weight", code=4)


def test_a_version_is_tested_with_rows_its_golden_requests_and_its_example(
    embedded_server: Client, told: Told, tmp_path: Path
) -> None:
    sample = json.dumps([{"x0": 0.0, "prediction": "low"}, {"x0": 1.0, "prediction": "high"}])
    assert embedded_server.upload("tested", numbers(), sample=sample).status_code == 201
    assert embedded_server.upload("tested", numbers(width=2)).status_code == 409
    assert told("test", "tested") == ("tested version 1 is live\n2 of 2 golden requests are answered as expected\n")
    assert told("test", "tested", "-3.5").splitlines()[:2] == ["tested version 1 is live", "low"]
    held, asked, *_ = told("test", "tested", "--version", 2).splitlines()
    assert held.startswith("tested version 2 is held: ")
    assert asked.startswith('asked its example {"input":')
    (tmp_path / "rows.json").write_text("[[5, 5], [-5, -5]]")
    answer = json.loads(told("test", "tested", "--version", 2, "--input", "@rows.json", "--json"))["answer"]
    assert answer["predictions"] == ["high", "low"]
    assert "No such option: `--verison`" in told("test", "tested", "--verison", "2", code=2)


@pytest.mark.parametrize(
    ("golden", "passed"),
    [
        (None, True),
        ({"rows": 2, "agreeing": 2, "problem": None}, True),
        ({"rows": 2, "agreeing": 1, "problem": None}, False),
        ({"rows": 2, "agreeing": 2, "problem": "The file is damaged."}, False),
    ],
    ids=["none", "all agree", "one differs", "a problem"],
)
def test_a_test_fails_if_a_golden_request_is_answered_otherwise(golden: object, passed: bool) -> None:
    assert has_passed({"golden": golden}) is passed


def test_predict_reads_rows_from_a_file_and_from_standard_input(embedded_server: Client, tmp_path: Path) -> None:
    assert embedded_server.upload("read", numbers()).status_code == 201
    (tmp_path / "row.json").write_text('{"input": [3]}')
    for argument, text in (("@row.json", None), ("@-", "[3]")):
        ran = run("predict", "read", "--input", argument, at=embedded_server, folder=tmp_path, text=text)
        assert ran.out.startswith("high\n"), ran.err
    (tmp_path / "odd.json").write_bytes(b"\xff")
    for argument, why in (("@none.json", "cannot be read: no such file or directory"), ("@odd.json", "is not UTF-8")):
        ran = run("predict", "read", "--input", argument, at=embedded_server, folder=tmp_path)
        assert (ran.code, f"`{argument[1:]}` {why}" in ran.err) == (2, True)


def test_a_description_and_the_cache_are_changed(embedded_server: Client, told: Told) -> None:
    assert embedded_server.upload("described", numbers()).status_code == 201
    assert told("update", "described", "--description", "Two sizes.", "--cache", "off") == "described is changed\n"
    found = json.loads(told("show", "described", "--json"))
    assert (found["description"], found["cache"]) == ("Two sizes.", "off")
    assert "Give at least one option" in told("update", "described", code=2)
