"""Waiting for a conversion: by a request that the server holds, and until Ctrl-C."""

import pickle
from typing import Any

import pytest
from sklearn.linear_model import LogisticRegression

from serval.commands import push
from serval.commands.failure import Interrupted
from serval.commands.push import waited
from serval.commands.remote import Api, Remote
from support.http_client import Client

MODEL = pickle.dumps(LogisticRegression().fit([[0.0], [1.0]], ["low", "high"]))


class Counted(Api):
    """Counts what it asks."""

    asked = 0

    def get(self, *arguments: Any, **options: Any) -> Any:
        self.asked += 1
        return super().get(*arguments, **options)


class Pressed(Api):
    """Somebody presses Ctrl-C during the first request."""

    def get(self, *_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt


def started(server: Client, name: str) -> dict[str, Any]:
    """A version whose conversion has been asked for."""
    answer = server.upload(name, MODEL, wait_seconds=0)
    assert answer.status_code == 202, answer.text
    version: dict[str, Any] = answer.json()
    return version


def test_a_conversion_is_waited_for_by_one_request(embedded_server: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(push, "HELD_SECONDS", 300)
    version = started(embedded_server, "waited-for")
    api = Counted(embedded_server.url, embedded_server.key)
    stages: list[str] = []
    ended = waited(Remote(api, as_json=False), version, stages.append)
    api.close()
    assert (ended["status"], ended["is_live"]) == ("ready", True)
    assert (api.asked, stages) == (1, [version["status"]])


def test_ctrl_c_says_what_goes_on_on_the_server(embedded_server: Client) -> None:
    version = started(embedded_server, "interrupted")
    api = Pressed(embedded_server.url, embedded_server.key)
    with pytest.raises(Interrupted) as interrupted:
        waited(Remote(api, as_json=False), version, lambda _: None)
    api.close()
    assert interrupted.value.exit_code == 130
    assert "goes on with interrupted version 1; `serval model show interrupted`" in interrupted.value.message
    assert embedded_server.await_version("interrupted", 1, "ready")["is_live"]


def test_a_wait_that_is_no_number_is_refused(embedded_server: Client) -> None:
    embedded_server.await_version("odd-wait", started(embedded_server, "odd-wait")["version"], "ready")
    path = "/api/v1/models/odd-wait/versions/1"
    assert embedded_server.http.get(path, headers={"Prefer": "wait=soon"}).status_code == 400
    assert embedded_server.http.get(path, headers={"Prefer": "wait=300"}).json()["status"] == "ready"
