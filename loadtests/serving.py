"""Serval as installed, in a folder of its own, for the load tests and the benchmark."""

import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import joblib

SERVAL = str(Path(sys.executable).with_name("serval"))
PATIENCE_SECONDS = 60.0


class Server:
    """A running server, and its administrator's client."""

    def __init__(self, process: subprocess.Popen[bytes], url: str, key: str) -> None:
        self.process = process
        self.url = url
        self.key = key
        self.http = httpx2.Client(base_url=url, headers={"X-API-Key": key}, timeout=120)

    def upload(self, name: str, model: Any) -> None:
        """Upload a fitted model and wait until it answers. Raises httpx2.HTTPStatusError when it can not be served."""
        content = io.BytesIO()
        joblib.dump(model, content)
        files = {"file": ("model.joblib", content.getvalue(), "application/octet-stream")}
        self.http.post(
            "/api/v1/models/upload", files=files, data={"name": name}, headers={"Prefer": "wait=110"}
        ).raise_for_status()

    def has(self, model: str) -> bool:
        return self.http.get(f"/api/v1/models/{model}").is_success


@contextmanager
def serving(folder: Path, settings: Mapping[str, str]) -> Iterator[Server]:
    """Run `serval serve` on free ports until the block ends; settings by the names of their fields. Its log stays in
    the folder.

    Raises RuntimeError when it does not start.
    """
    given = {
        "data_dir": str(folder / "data"),
        "port": "0",
        "metrics_port": "0",
        "log_format": "json",
        "drain_pause_seconds": "0",
    }
    given["api_rate"] = "unlimited"
    environ = {name: value for name, value in os.environ.items() if not name.startswith("SERVAL_")}
    environ |= {f"SERVAL_{name.upper()}": value for name, value in {**given, **settings}.items()}
    path = folder / "serval.log"
    with (
        path.open("wb") as log,
        subprocess.Popen([SERVAL, "serve"], env=environ, stdout=log, stderr=log, cwd=folder) as process,
    ):
        try:
            server = Server(process, _ready(process, path), (folder / "data" / "admin.key").read_text().strip())
            yield server
            server.http.close()
        finally:
            process.terminate()


def _ready(process: subprocess.Popen[bytes], log: Path) -> str:
    """Wait for the log to tell of the address."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        for line in log.read_text().splitlines():
            if '"ready"' in line and line.endswith("}"):
                return str(json.loads(line)["url"])
        time.sleep(0.005)
    raise RuntimeError(f"the server does not start: {log.read_text()[-2000:]}")
