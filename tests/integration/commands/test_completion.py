"""Completion in shells: the scripts, and names of models."""

import pickle
import socket
from pathlib import Path

import pytest
from click.shell_completion import BashComplete
from sklearn.linear_model import LogisticRegression

from serval.commands.cli import cli
from support.command_line import environment, run
from support.http_client import Client


def completed(arguments: list[str], incomplete: str, **settings: str) -> list[str]:
    with environment(settings):
        found = BashComplete(cli, {}, "serval", "_SERVAL_COMPLETE").get_completions(arguments, incomplete)
    return [item.value for item in found]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_a_shell_calls_serval(tmp_path: Path, shell: str) -> None:
    script = run("completion", shell, folder=tmp_path)
    assert (script.code, f"_SERVAL_COMPLETE={shell}_complete" in script.out) == (0, True)


def test_names_of_models_are_completed_as_commands_call_them(embedded_server: Client, tmp_path: Path) -> None:
    model = pickle.dumps(LogisticRegression().fit([[0.0], [1.0]], ["low", "high"]))
    assert embedded_server.upload("completed", model, wait_seconds=60).status_code == 201
    at = {"SERVAL_URL": embedded_server.url, "SERVAL_KEY": embedded_server.key, "XDG_CONFIG_HOME": str(tmp_path)}
    listed = [each["name"] for each in embedded_server.http.get("/api/v1/models").json()["items"]]
    for command in (["predict"], ["model", "show"], ["model", "promote"]):
        assert set(completed(command, "", **at)) >= {"completed", *listed}
    assert "completed" in completed(["predict"], "compl", **at)
    assert completed(["predict"], "no-such-model", **at) == []
    assert completed(["predict"], "", **at | {"SERVAL_KEY": "srv_wrong"}) == []


def test_a_server_that_does_not_answer_completes_nothing(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        at = {"SERVAL_URL": f"http://127.0.0.1:{silent.getsockname()[1]}", "XDG_CONFIG_HOME": str(tmp_path)}
        assert completed(["predict"], "", SERVAL_KEY="k", **at) == []
        assert completed(["predict"], "", SERVAL_DATA_DIR=str(tmp_path), **at) == []
