"""A running server against its own `/openapi.json`: no 500 and no undocumented answer."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from sklearn.datasets import load_diabetes, load_iris
from sklearn.linear_model import LinearRegression, LogisticRegression

from support.http_client import Client

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
SCHEMATHESIS = str(Path(sys.executable).with_name("schemathesis"))


@pytest.fixture
def seeded(server: Client) -> Client:
    """A server with a classifier of two versions, a regressor, a model that failed and one to be deleted."""
    iris, diabetes = load_iris(), load_diabetes()
    classifier = pickle.dumps(LogisticRegression(max_iter=500).fit(iris.data, iris.target_names[iris.target]))
    for name, content, status in [
        ("iris", classifier, 201),
        ("iris", classifier, 201),
        ("diabetes", pickle.dumps(LinearRegression().fit(diabetes.data, diabetes.target)), 201),
        ("failed", b"no model", 422),
        ("doomed", b"no model", 422),
    ]:
        answer = server.upload(name, content, allow_schema_change="true")
        assert answer.status_code == status, answer.text
    return server


def test_the_server_conforms_to_its_openapi_document(seeded: Client) -> None:
    command = [
        SCHEMATHESIS,
        "--config-file",
        "schemathesis.toml",
        "run",
        f"{seeded.url}/openapi.json",
        "-H",
        f"X-API-Key: {seeded.key}",
    ]
    told = subprocess.run(
        command,
        cwd=HERE,
        env=os.environ | {"PYTHONPATH": str(HERE.parent / "support")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stdout + told.stderr
    paths = seeded.http.get("/openapi.json").json()["paths"]
    assert f"Tested: {sum(map(len, paths.values()))}\n" in told.stdout, told.stdout
