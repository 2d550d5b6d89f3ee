"""`serval-client` at a running server: what it prints, and its exit codes."""

import json
from pathlib import Path

import joblib
import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from serval_client.commands import main
from support import users
from support.http_client import Client as Server

X, Y = load_iris(return_X_y=True, as_frame=True)
MODEL = LogisticRegression(max_iter=1000).fit(X, Y)


@pytest.fixture(scope="module")
def key(embedded_server: Server) -> str:
    return users.key_of(embedded_server, users.person(embedded_server))


@pytest.fixture(autouse=True)
def _environment(embedded_server: Server, key: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SERVAL_URL", embedded_server.url)
    monkeypatch.setenv("SERVAL_KEY", key)
    monkeypatch.chdir(tmp_path)
    joblib.dump(MODEL, "My Iris.joblib")
    X.to_csv("rows.csv", index=False)


def test_a_model_is_pushed_under_the_name_of_its_file_and_asked(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["push", "My Iris.joblib", "--sample", "rows.csv", "--description", "flowers"]) == 0
    assert capsys.readouterr().out.startswith("my-iris version 1 is live: http")

    assert main(["predict", "my-iris", "5.1", "3.5", "1.4", "0.2"]) == 0
    assert capsys.readouterr().out == "0\n"

    rows = json.dumps(X.iloc[[0, 100]].to_dict("records"))
    assert main(["predict", "my-iris", "--input", rows, "--probabilities", "--json", "--version", "1"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["predictions"] == [0, 2]
    np.testing.assert_allclose(answer["probabilities"], MODEL.predict_proba(X.iloc[[0, 100]]), atol=1e-12)

    assert main(["predict", "my-iris", "--csv", "rows.csv"]) == 0
    assert capsys.readouterr().out.split() == [str(label) for label in MODEL.predict(X)]


def test_a_version_that_is_held_has_an_exit_code_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    main(["push", "My Iris.joblib", "--name", "held"])
    joblib.dump(LogisticRegression(max_iter=1000).fit(X.iloc[:, :2], Y), "other.joblib")
    capsys.readouterr()
    assert main(["push", "other.joblib", "--name", "held"]) == 3
    assert capsys.readouterr().out.startswith("held version 2 is held: ")
    assert main(["push", "other.joblib", "--name", "held", "--allow-schema-change", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["is_live"] is True


def test_what_goes_wrong_is_a_sentence_and_an_exit_code(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["predict", "no-such-model", "1", "--json"]) == 4
    shown = capsys.readouterr()
    assert json.loads(shown.out)["code"] == "not_found"
    assert shown.err.startswith('serval-client: There is no model "no-such-model"')

    joblib.dump({"a": 1}, "dict.joblib")
    assert main(["push", "dict.joblib"]) == 4
    assert "no model among them" in capsys.readouterr().err

    assert main(["push", "absent.joblib"]) == 1
    assert "absent.joblib" in capsys.readouterr().err

    monkeypatch.setenv("SERVAL_URL", "http://127.0.0.1:9")
    assert main(["predict", "iris", "1"]) == 5
    assert capsys.readouterr().err.startswith("serval-client: http://127.0.0.1:9 does not respond: ")

    monkeypatch.delenv("SERVAL_KEY")
    assert main(["predict", "iris", "1"]) == 1
    assert capsys.readouterr().err == "serval-client: no API key: give `key`, or set `SERVAL_KEY`\n"


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["predict"],
        ["predict", "iris"],
        ["predict", "iris", "--plan", "a"],
        ["predict", "iris", "1", "--input", "{}"],
        ["predict", "iris", "--input", "{"],
    ],
)
def test_a_command_that_is_used_wrongly_ends_with_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2


def test_values_are_read_as_json_has_them(capsys: pytest.CaptureFixture[str]) -> None:
    main(["push", "My Iris.joblib", "--name", "values"])
    capsys.readouterr()
    assert main(["predict", "values", "-5.1", "3.5", "1e-3", "null"]) == 4
    assert "inputs[0][3]" in capsys.readouterr().err
    assert main(["predict", "values", "-5.1", "3.5", "true", "x"]) == 4
    assert 'inputs[0][3]: expected a number, got "x"' in capsys.readouterr().err
