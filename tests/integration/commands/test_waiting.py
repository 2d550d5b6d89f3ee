"""Waiting for a conversion: by a request that the server holds, and until Ctrl-C."""

import pickle
from contextlib import closing
from typing import Any

import msgspec
import pytest
from sklearn.linear_model import LogisticRegression

from serval.commands.failure import Interrupted
from serval.commands.push import waited
from serval.commands.remote import Api, Remote
from serval_client import Version, models
from support.http_client import Client

MODEL = pickle.dumps(LogisticRegression().fit([[0.0], [1.0]], ["low", "high"]))


def started(server: Client, name: str) -> Version:
    """A version whose conversion has been asked for."""
    answer = server.upload(name, MODEL, wait_seconds=0)
    assert answer.status_code == 202, answer.text
    return msgspec.json.decode(answer.content, type=Version)


def test_a_conversion_is_waited_for_by_one_request(embedded_server: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "HELD_SECONDS", 300)
    version = started(embedded_server, "waited-for")
    stages: list[str] = []
    held: list[str | None] = []
    with closing(Api(embedded_server.url, embedded_server.key)) as api:
        api.client._http.event_hooks = {"request": [lambda request: held.append(request.headers.get("prefer"))]}
        ended = waited(Remote(api, as_json=False), version, lambda moment: stages.append(moment.stage))
    assert (ended["status"], ended["is_live"]) == ("ready", True)
    assert (held, stages) == (["wait=300", None], [version.status])


def test_ctrl_c_says_what_goes_on_on_the_server(embedded_server: Client) -> None:
    def pressed(_: Any) -> None:
        raise KeyboardInterrupt

    version = started(embedded_server, "interrupted")
    with closing(Api(embedded_server.url, embedded_server.key)) as api:
        api.client._http.event_hooks = {"request": [pressed]}
        with pytest.raises(Interrupted) as interrupted:
            waited(Remote(api, as_json=False), version, lambda _: None)
    assert interrupted.value.exit_code == 130
    assert "goes on with interrupted version 1; `serval model show interrupted`" in interrupted.value.message
    assert embedded_server.await_version("interrupted", 1, "ready")["is_live"]


def test_a_wait_that_is_no_number_is_refused(embedded_server: Client) -> None:
    embedded_server.await_version("odd-wait", started(embedded_server, "odd-wait").version, "ready")
    path = "/api/v1/models/odd-wait/versions/1"
    assert embedded_server.http.get(path, headers={"Prefer": "wait=soon"}).status_code == 400
    assert embedded_server.http.get(path, headers={"Prefer": "wait=300"}).json()["status"] == "ready"
