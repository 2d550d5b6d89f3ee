"""The client where its users are: other Pythons, with a scikit-learn of their own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.http_client import Client as Server

ROOT = Path(__file__).parents[3]
SCRIPT = ROOT / "tests" / "support" / "pushed_elsewhere.py"


def uv(*arguments: object) -> None:
    command = [str(Path(sys.executable).with_name("uv")), *map(str, arguments)]
    made = subprocess.run(command, check=False, capture_output=True, text=True, timeout=600)
    assert made.returncode == 0, made.stderr


@pytest.mark.environments
@pytest.mark.parametrize(("python", "scikit_learn"), [("3.9", "1.4"), ("3.13", "1.7")])
def test_a_model_of_another_python_is_pushed_and_answers_as_there(
    embedded_server: Server, tmp_path: Path, python: str, scikit_learn: str
) -> None:
    environment = tmp_path / "environment"
    uv("venv", "--python", python, environment)
    interpreter = environment / "bin" / "python"
    uv("pip", "install", "--python", interpreter, ROOT / "client", f"scikit-learn=={scikit_learn}.*", "pandas")
    settings = {"SERVAL_URL": embedded_server.url, "SERVAL_KEY": embedded_server.key}
    name = f"python-{python}"
    ran = subprocess.run(
        [interpreter, "-W", "error::DeprecationWarning:serval_client", SCRIPT, name, tmp_path],
        check=False,
        capture_output=True,
        text=True,
        env=os.environ | settings,
        timeout=600,
    )
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    assert found["scikit_learn"].startswith(f"{scikit_learn}.")
    assert found["refusals"] == ["BadRequest", "NotFound", "Refused"]
    shown = subprocess.run(
        [environment / "bin" / "serval-client", "predict", f"{name}-file", "20000.0", "--json"],
        check=True,
        capture_output=True,
        text=True,
        env=os.environ | settings,
        timeout=60,
    )
    assert len(json.loads(shown.stdout)["predictions"]) == 1
