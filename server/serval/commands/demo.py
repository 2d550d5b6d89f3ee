"""`serval demo`: real models on real data, from training to a prediction, each step shown and checked."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from serval.commands.push import Upload, send
from serval.commands.remote import Api, Remote
from serval.commands.reports import print_report
from serval.errors import CannotStart
from serval.process.locks import listen
from serval.process.parent_death import bound_to_parent

if TYPE_CHECKING:
    from serval.commands.demo_models import Trained

START_SECONDS = 60.0


@dataclass
class Checks:
    """Expectations that passed and failed."""

    failed: list[str] = field(default_factory=list)
    passed: int = 0

    def expect(self, is_right: bool, expectation: str) -> None:
        if is_right:
            self.passed += 1
        else:
            self.failed.append(expectation)
            click.secho(f"  wrong: {expectation}", fg="red")


@click.command()
def demo() -> None:
    """Start a server, train three models on real data, upload them and predict with them.

    On a terminal the server keeps running until Ctrl-C; otherwise the exit code is 1 if any answer was wrong.
    """
    sys.exit(run_demo())


def run_demo() -> int:
    """Run every step once; on a terminal leave the server running until Ctrl-C. Returns the exit code."""
    from serval.commands.demo_models import breast_cancer, iris, penguins

    with tempfile.TemporaryDirectory(prefix="serval-demo-") as folder, server_in(Path(folder)) as url:
        checks = Checks()
        key_file = Path(folder) / "data" / "admin.key"
        server = Remote(Api(url, key_file.read_text(encoding="ascii").strip()), as_json=False)
        heading(f"Serval answers at {url}")
        click.echo(f"export SERVAL_URL={url} SERVAL_KEY=$(cat {key_file})")
        for trained in (iris(), breast_cancer(), penguins()):
            show(server, trained, Path(folder), checks)
        heading(f"{checks.passed} checks passed, {len(checks.failed)} failed")
        if sys.stdin.isatty() and sys.stdout.isatty():
            click.echo(f"The server is running until Ctrl-C; its interface is documented at {url}/docs")
            wait_for_interrupt()
    return 1 if checks.failed else 0


def show(server: Remote, trained: "Trained", folder: Path, checks: Checks) -> None:
    """Upload a model, print its report, predict with it, and compare."""
    import joblib

    heading(f"{trained.name}: {trained.story}")
    file = folder / f"{trained.name}.joblib"
    joblib.dump(trained.model, file)
    click.echo(f"$ serval model push {file}")
    began = time.perf_counter()
    version = send(server, Upload(file))
    click.echo(f"live after {time.perf_counter() - began:.1f} s")
    print_report(version)
    checks.expect(version["is_live"], f"{trained.name} is live")
    predict_by_curl(server, trained, version, checks)
    compare(server, trained, checks)


def predict_by_curl(server: Remote, trained: "Trained", version: dict[str, Any], checks: Checks) -> None:
    """Run the same line twice: the second answer comes from the cache."""
    line = curl_line(version["predict_url"], trained.rows[0])
    click.echo(f"$ {line}")
    for is_second in (False, True):
        answer = answer_of(server, line, trained, version)
        cache_hit, latency_ms = str(answer["cache_hit"]).lower(), answer["latency_ms"]
        click.echo(f"  prediction {answer['prediction']!r}, cache_hit {cache_hit}, {latency_ms:.3f} ms")
        checks.expect(
            answer["prediction"] == trained.answers[0],
            f"{trained.name} answers {trained.answers[0]!r} for its first held-out row",
        )
        checks.expect(answer["cache_hit"] is is_second, f"{trained.name} answers from the cache only the second time")


def curl_line(url: str, row: Any) -> str:
    import msgspec

    body = msgspec.json.encode({"input": row}).decode()
    return f"curl -s {url} -H \"X-API-Key: $SERVAL_KEY\" -H 'Content-Type: application/json' -d '{body}'"


def answer_of(server: Remote, line: str, trained: "Trained", version: dict[str, Any]) -> dict[str, Any]:
    """Run the printed line; if this machine has no curl, send the same request over HTTP."""
    import msgspec

    if shutil.which("curl") is None:
        answer: dict[str, Any] = server.api.post(version["predict_url"], {"input": trained.rows[0]})
        return answer
    ran = subprocess.run(
        ["/bin/sh", "-c", line], env=os.environ | {"SERVAL_KEY": server.api.key or ""}, capture_output=True, check=True
    )
    decoded: dict[str, Any] = msgspec.json.decode(ran.stdout)
    if "prediction" not in decoded:
        raise CannotStart(f"{trained.name} gave no prediction: {ran.stdout.decode()}")
    return decoded


def compare(server: Remote, trained: "Trained", checks: Checks) -> None:
    """Compare all held-out rows, in one request, with what the fitted model predicts."""
    answer = server.api.post(f"/api/v1/predict/{trained.name}", {"inputs": trained.rows})
    same = sum(served == original for served, original in zip(answer["predictions"], trained.answers, strict=True))
    click.echo(f"{same} of {len(trained.rows)} held-out rows are answered as scikit-learn answers them")
    checks.expect(same == len(trained.rows), f"{trained.name} answers all held-out rows like the original")


@contextmanager
def server_in(folder: Path) -> Iterator[str]:
    """A server in a folder of its own; its URL. Raises CannotStart with its log."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    log_file = folder / "server.log"
    options = ["--data-dir", str(folder / "data"), "--port", str(port)]
    options += ["--metrics-port", "0", "--drain-pause-seconds", "0"]
    with log_file.open("wb") as log:
        command = bound_to_parent([sys.executable, "-m", "serval.commands.cli", "serve", *options])
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        wait_until_ready(process, url, log_file)
        yield url
    finally:
        process.terminate()
        process.wait()


def free_port() -> int:
    """8080 if it is free."""
    try:
        with listen("127.0.0.1", 8080, flag="--port"):
            return 8080
    except CannotStart:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            return int(probe.getsockname()[1])


def wait_until_ready(process: subprocess.Popen[bytes], url: str, log_file: Path) -> None:
    import httpx2

    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            if httpx2.get(f"{url}/health/ready").is_success:
                return
        except httpx2.TransportError:
            pass
        time.sleep(0.05)
    raise CannotStart(f"the server did not start:\n{log_file.read_text(errors='replace')}")


def heading(text: str) -> None:
    click.secho(f"\n{text}", bold=True)


def wait_for_interrupt() -> None:
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        click.echo("\nstopping")
