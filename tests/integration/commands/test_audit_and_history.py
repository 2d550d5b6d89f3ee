"""What happened and what was predicted, on the command line."""

import csv
import io
import json
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
from sklearn.linear_model import LogisticRegression

from support.command_line import run
from support.http_client import Client
from support.waiting import wait_until

MODEL = pickle.dumps(LogisticRegression().fit([[0.0], [1.0]], ["low", "high"]))
Told = Callable[..., str]


@pytest.fixture
def told(embedded_server: Client, tmp_path: Path) -> Told:
    """Runs a command and returns what it said."""

    def said(*arguments: object, code: int = 0) -> str:
        ran = run(*arguments, at=embedded_server, folder=tmp_path)
        assert ran.code == code, ran.err
        return ran.out or ran.err

    return said


def test_the_audit_trail_of_a_model_is_found_by_its_name(embedded_server: Client, told: Told) -> None:
    for _ in range(2):
        assert embedded_server.upload("audited", MODEL).status_code == 201
    told("model", "update", "audited", "--description", "For the trail.")
    heading, *rows = told("audit", "--subject", "audited").splitlines()
    assert heading.split() == ["time", "actor", "action", "subject", "address", "details"]
    actions = [row.split()[3] for row in rows]
    assert actions == ["model.change", "model.upload", "model.upload"]
    assert "fields=['description']" in rows[0]
    assert told("audit", "--subject", "admin/audited") == told("audit", "--subject", "audited")
    items = json.loads(told("audit", "--subject", "audited", "--limit", 2, "--json"))["items"]
    assert [item["action"] for item in items] == ["model.change", "model.upload"]
    assert told("audit", "--subject", items[0]["subject_id"]) == told("audit", "--subject", "audited")
    exported = csv.DictReader(io.StringIO(told("audit", "--subject", "audited", "--action", "model.", "--csv")))
    assert [row["action"] for row in exported] == actions
    assert told("audit", "--subject", "audited", "--until", "2001-01-01").splitlines()[1:] == []
    assert told("audit", "--subject", "audited", "--since", "2001-01-01").splitlines()[1:] == rows
    assert "mutually exclusive" in told("audit", "--csv", "--json", code=2)
    assert "there are `user.register`" in told("audit", "--action", "modle.", code=4)


def test_the_predictions_of_a_model_are_listed(embedded_server: Client, told: Told) -> None:
    assert embedded_server.upload("asked-before", MODEL).status_code == 201
    assert "high" in told("predict", "asked-before", 3)
    assert embedded_server.predict("asked-before", {"inputs": [[-3.0], [3.0]]}).status_code == 200

    def rows() -> list[str] | None:
        found = told("history", "asked-before").splitlines()[1:]
        return found if len(found) == 2 else None

    newest, oldest = wait_until(rows, within_seconds=10)
    assert "low, high" in newest
    assert oldest.split()[2:6] == ["asked-before", "1", "1", "high"]
    items = json.loads(told("history", "admin/asked-before", "--version", 1, "--limit", 1, "--json"))["items"]
    assert [item["rows"] for item in items] == [2]
    assert items[0]["id"] in newest
    assert told("history", "asked-before", "--version", 2).splitlines()[1:] == []
    assert "no model `asked-behind`" in told("history", "asked-behind", code=4)
