"""A small HTTP client for tests: requests as a user would send them, and a server to send them to."""

import json
import os
import ssl
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2

from support.plain_http import TRUSTS_NOBODY
from support.processes import Running, running
from support.waiting import wait_until

SERVAL = str(Path(sys.executable).with_name("serval"))

UNMEASURED = {"MEASURED_BY_TESTS": ""}
"""For processes whose code runs in measured ones too: to be measured makes a start twice as long."""


class Client:
    """Talks to one server as its administrator."""

    def __init__(self, process: Running, folder: Path, authority: Path | None = None) -> None:
        """`authority`: file of the certificate that the server's is held against; it speaks TLS then."""
        self.process = process
        self.folder = folder
        self.url = f"http://127.0.0.1:{process.port}" if authority is None else f"https://localhost:{process.port}"
        self.key = (folder / "admin.key").read_text().strip()
        self.http = httpx2.Client(
            base_url=self.url, headers={"X-API-Key": self.key}, timeout=120, verify=trusting(authority)
        )

    def upload(
        self, name: str, content: bytes, *, wait_seconds: int = 120, filename: str = "model.pkl", **fields: str
    ) -> httpx2.Response:
        """Upload a file and wait for what becomes of it."""
        return self.http.post(
            "/api/v1/models/upload",
            files={"file": (filename, content, "application/octet-stream")},
            data={"name": name, **fields},
            headers={"Prefer": f"wait={wait_seconds}"},
        )

    def predict(
        self, model: str, body: Any, *, headers: Mapping[str, str] | None = None, **query: str
    ) -> httpx2.Response:
        """Ask a model; a `body` of bytes goes as it is."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.http.post(
            f"/api/v1/predict/{model}",
            content=content,
            params=query,
            headers={"Content-Type": "application/json", **(headers or {})},
        )

    def await_version(self, model: str, number: int, status: str) -> dict[str, Any]:
        """Ask until a version has a status; fail when it ends otherwise."""

        def version_with_status() -> dict[str, Any] | None:
            version: dict[str, Any] = self.http.get(f"/api/v1/models/{model}/versions/{number}").json()
            assert version["status"] == status or version["status"] not in {"ready", "failed"}, version
            return version if version["status"] == status else None

        return wait_until(version_with_status, within_seconds=120)

    def arriving(self) -> list[Path]:
        """The files of uploads that are being received."""
        return files_arriving(self.folder)

    def close(self) -> None:
        self.http.close()


def files_arriving(folder: Path) -> list[Path]:
    """The files of uploads that the server of a data folder is receiving."""
    return [path for path in (folder / "models" / "incoming").glob("*/*") if path.name != "lock"]


def trusting(authority: Path | None) -> ssl.SSLContext:
    return TRUSTS_NOBODY if authority is None else ssl.create_default_context(cafile=authority)


def migrate(folder: Path, database_url: str) -> None:
    """Make the tables of a PostgreSQL database."""
    settings = {"SERVAL_DATA_DIR": str(folder), "SERVAL_DATABASE_URL": database_url} | UNMEASURED
    subprocess.run([SERVAL, "migrate"], env=os.environ | settings, check=True, capture_output=True)


@contextmanager
def serving(
    folder: Path,
    settings: Mapping[str, str],
    *,
    is_migrated: bool = False,
    is_measured: bool = False,
    authority: Path | None = None,
) -> Iterator[Client]:
    """Run `serval serve` in a folder until the block ends.

    `is_measured`: coverage counts what it runs. `authority`: of the certificate that the settings name, in a file.
    """
    environ = {
        "SERVAL_DATA_DIR": str(folder),
        "SERVAL_PORT": "0",
        "SERVAL_METRICS_PORT": "0",
        "SERVAL_LOG_FORMAT": "json",
        "SERVAL_DRAIN_PAUSE_SECONDS": "0.1",
        "SERVAL_API_RATE": "unlimited",
        "SERVAL_SLOW_REQUEST_MS": "600000",  # a slow request is logged as another event than others
        "SERVAL_PASSWORD_HASH_BYTES": str(12 << 20),  # the least: the tests make hundreds of users
        "SERVAL_CONVERT_PRELOAD": "false",  # most servers convert nothing, or one model
        **settings,
    }
    if not is_measured:
        environ |= UNMEASURED
    if "SERVAL_DATABASE_URL" in settings and not is_migrated:
        migrate(folder, settings["SERVAL_DATABASE_URL"])
    with running([SERVAL, "serve"], environ) as process:
        client = Client(process.ready(), folder, authority)
        try:
            yield client
        finally:
            client.close()
            process.popen.terminate()
            process.ended()
