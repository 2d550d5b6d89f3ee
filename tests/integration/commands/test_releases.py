"""A model's life on the command line, from its second version to its restoration."""

import json
import pickle
from pathlib import Path

from sklearn.linear_model import LogisticRegression

from support.command_line import run
from support.http_client import Client

MODEL = pickle.dumps(LogisticRegression().fit([[0.0], [1.0]], ["low", "high"]))


def test_versions_are_promoted_rolled_back_and_retired_and_a_model_is_restored(
    embedded_server: Client, tmp_path: Path
) -> None:
    def told(*arguments: object, code: int = 0) -> str:
        ran = run("model", *arguments, at=embedded_server, folder=tmp_path)
        assert ran.code == code, ran.err
        return ran.out or ran.err

    for _ in range(2):
        assert embedded_server.upload("releases", MODEL).status_code == 201
    assert told("promote", "releases", 1) == "releases version 1 is live\n"
    assert told("rollback", "admin/releases") == "releases version 2 is live\n"
    assert told("deprecate", "releases", 1) == "releases version 1 is deprecated\n"
    assert "promote another version first" in told("archive", "releases", 2, code=4)
    assert told("archive", "releases", 1) == "releases version 1 is archived\n"
    told("download", "releases", 2, "two.onnx")
    assert len((tmp_path / "two.onnx").read_bytes()) > 0
    assert "file exists" in told("download", "releases", 2, "two.onnx", code=1)
    assert {path.name for path in tmp_path.iterdir()} <= {"two.onnx", ".config"}
    lines = told("versions", "releases").splitlines()
    assert [line.split()[0] for line in lines[-2:]] == ["2", "1"]
    assert "False" not in "".join(lines)
    model_id = json.loads(told("show", "releases", "--json"))["id"]
    assert model_id in told("delete", "releases")
    assert "no model" in told("show", "admin/releases", code=1)
    assert told("restore", model_id) == "releases is restored\n"


def test_deleted_models_are_listed_and_restored_by_name(embedded_server: Client, tmp_path: Path) -> None:
    def told(*arguments: object, code: int = 0) -> str:
        ran = run("model", *arguments, at=embedded_server, folder=tmp_path)
        assert ran.code == code, ran.err
        return ran.out or ran.err

    ids = []
    for _ in range(2):
        ids.append(embedded_server.upload("deleted-twice", MODEL).json()["model_id"])
        told("delete", "deleted-twice")
    listed = [line.split() for line in told("list", "--deleted").splitlines() if "deleted-twice" in line]
    assert [row[:2] for row in listed] == [["deleted-twice", model_id] for model_id in reversed(ids)]
    assert "deleted-twice" not in told("list")
    ambiguous = told("restore", "deleted-twice", code=4)
    assert all(model_id in ambiguous for model_id in ids)
    assert all(model_id in told("restore", "admin/deleted-twice", code=1) for model_id in ids)
    assert told("restore", ids[0]) == "deleted-twice is restored\n"
    assert "Another model has the name `deleted-twice` by now" in told("restore", "deleted-twice", code=4)
    told("delete", ids[0])
    told("restore", ids[1])
    told("delete", ids[1])
    embedded_server.upload("deleted-once", MODEL)
    told("delete", "deleted-once")
    assert told("restore", "deleted-once") == "deleted-once is restored\n"
    told("delete", "deleted-once")
    assert told("restore", "admin/deleted-once") == "deleted-once is restored\n"
    assert told("restore", "deleted-once") == "deleted-once is restored\n", "as before: it is not deleted any more"
    assert "GET /api/v1/models?deleted=true` lists those" in told("restore", "nosuch", code=4)
    assert "`serval model list --deleted` shows all" in told("restore", "admin/nosuch", code=1)
