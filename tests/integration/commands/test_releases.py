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
    assert "File exists" in told("download", "releases", 2, "two.onnx", code=1)
    lines = told("versions", "releases").splitlines()
    assert [line.split()[0] for line in lines[-2:]] == ["2", "1"]
    assert "False" not in "".join(lines)
    model_id = json.loads(told("show", "releases", "--json"))["id"]
    assert model_id in told("delete", "releases")
    assert "no model" in told("show", "admin/releases", code=1)
    assert told("restore", model_id) == "releases is restored\n"
