"""Pushes whose server is away for a while, or for good."""

import json
from pathlib import Path
from typing import Any

import httpx2
import pytest

import serval_client as serval
from serval_client.models import Models
from serval_client.operations import Lost, Patience
from support.played_steps import BROKEN, LATE, REFUSED, Played

VERSION = {
    "model": "iris",
    "model_id": "mdl_1",
    "owner": "ada",
    "version": 3,
    "lifecycle": "active",
    "is_live": False,
    "created_at": "2026-11-20T12:00:00Z",
    "filename": "model.pkl",
    "source_sha256": "00",
    "predict_url": "http://host/api/v1/predict/iris",
}


def responded(status: str, **more: Any) -> httpx2.Response:
    content = json.dumps(VERSION | {"status": status} | more).encode()
    return httpx2.Response(200, content=content, request=httpx2.Request("GET", "http://host/x"))


def models(*outcomes: httpx2.Response | Lost) -> tuple[Any, Played]:
    performer = Played(*outcomes)
    namespace: Any = Models(performer, Patience())
    return namespace, performer


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "model.pkl"
    path.write_bytes(b"a model")
    return path


def test_a_server_that_is_away_for_a_while_does_not_end_the_wait(file: Path) -> None:
    away = [BROKEN, *[REFUSED] * 10]
    namespace, performer = models(
        responded("pending"),
        responded("converting"),
        *away,
        responded("verifying"),
        *away,
        responded("ready", is_live=True),
    )
    stages: list[str] = []
    version = namespace.push(file, name="iris", progress=lambda progress: stages.append(progress.stage))
    assert version.is_live
    assert list(dict.fromkeys(stages)) == ["saving the model", "pending", "converting", "verifying"]
    upload, *waits = performer.calls
    assert upload.prefer == "wait=0"
    assert {(call.method, call.path, call.prefer) for call in waits} == {
        ("GET", "/api/v1/models/mdl_1/versions/3", "wait=10")
    }
    assert len(waits) == 2 * len(away) + 3


def test_a_server_that_stays_away_ends_the_wait_after_a_minute(file: Path) -> None:
    namespace, performer = models(responded("pending"), REFUSED)
    with pytest.raises(serval.Unreachable):
        namespace.push(file, name="iris")
    assert 50 < sum(performer.pauses) <= 60


@pytest.mark.parametrize("outcome", [BROKEN, LATE], ids=["broken", "late"])
def test_an_upload_that_may_have_arrived_is_sent_once(file: Path, outcome: Lost) -> None:
    namespace, performer = models(outcome, responded("ready"))
    with pytest.raises(serval.Unreachable, match="it may have done what was asked all the same"):
        namespace.push(file, name="iris")
    assert len(performer.calls) == 1


def test_a_version_that_failed_is_refused_with_its_reason(file: Path) -> None:
    failure = {"code": "not_verified", "message": "It answers differently."}
    namespace, _ = models(responded("pending"), responded("failed", failure=failure))
    with pytest.raises(serval.Refused, match=r"^It answers differently\.$") as refusal:
        namespace.push(file, name="iris")
    assert refusal.value.code == "not_verified"


def test_a_server_that_answers_at_once_is_not_asked_all_the_time(file: Path) -> None:
    namespace, performer = models(*[responded("converting")] * 5, responded("ready"))
    namespace.push(file, name="iris")
    assert performer.pauses == [0.5, 1.0, 2.0, 4.0]


@pytest.mark.parametrize("name", ["", ".", "..", "../users", "ada/..", "/iris", "ada/"])
def test_a_name_leads_to_no_other_path(name: str) -> None:
    namespace, performer = models(responded("ready"))
    with pytest.raises(ValueError, match="no name of a model"):
        namespace.version(name, 3)
    assert performer.calls == []
