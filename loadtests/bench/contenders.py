"""Who is measured: how each server is started, what it is asked, and where its answer stands."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx2
from sklearn.datasets import load_iris

from bench import models
from bench.system import family, free_port, serving_process, settle
from serval.data_plane.runtime import runtime_library
from serval.settings.settings import Settings
from serving import Server, serving

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
LIMIT = HERE / "limit" / "target" / "release" / "limit"
GO = ROOT / ".venv" / "bin" / "bench-go"
PEERS = ROOT / ".venv" / "peers" / "bin"
MLSERVER = ROOT / ".venv" / "peers-mlserver" / "bin"
KNOWN_SETTINGS = frozenset(Settings.__struct_fields__)
PATIENCE_SECONDS = 60.0

Body = Callable[[list[float]], Any]
Read = Callable[[dict[str, Any]], tuple[int, float | None]]


def features(row: list[float]) -> Any:
    return {"model_name": "iris", "features": row}


def prediction(answer: dict[str, Any]) -> tuple[int, float | None]:
    return int(answer["prediction"]), answer["probability"]


class NotStarted(Exception):
    """A server does not answer."""


@dataclass(frozen=True)
class Target:
    """A server that runs, and what it is asked."""

    url: str
    pid: int
    path: str = "/predict"
    key: str = "none"
    model: str = "iris"
    body: bytes = b""
    row_body: Body = features
    read: Read = prediction

    def check(self) -> None:
        """Ask for 30 flowers and compare with scikit-learn. Raises RuntimeError at a wrong answer."""
        rows = load_iris().data[::5]
        expected = models.iris().predict_proba(rows)
        with httpx2.Client(base_url=self.url, headers={"X-API-Key": self.key}, timeout=PATIENCE_SECONDS) as http:
            for row, probabilities in zip(rows.tolist(), expected, strict=True):
                response = http.post(self.path, json=self.row_body(row))
                label, probability = self.read(response.raise_for_status().json())
                right = label == probabilities.argmax() and (
                    probability is None or abs(probability - probabilities.max()) < 1e-5
                )
                if not right:
                    raise RuntimeError(f"{self.url} answers {response.text} to {row}: {probabilities} is right")


@dataclass(frozen=True)
class Contender:
    """A server to measure; `family` is whom the budgets compare."""

    name: str
    family: str
    start: Callable[[], AbstractContextManager[Target]]


@contextmanager
def serval(settings: Mapping[str, str], folder: Path | None = None) -> Iterator[tuple[Server, Target]]:
    """Run Serval with the iris model in it; settings by the names of their fields."""
    with TemporaryDirectory() as fresh, serving(folder or Path(fresh), settings) as server:
        if not server.has("iris"):
            server.upload("iris", models.iris())
        settle(server.process.pid)
        yield server, asking(Target(server.url, serving_process(server.process.pid), key=server.key), models.ROW)


def asking(target: Target, row: list[float]) -> Target:
    """The same server, asked for one row again and again."""
    return replace(target, body=json.dumps(target.row_body(row)).encode())


@contextmanager
def serval_alone(settings: Mapping[str, str]) -> Iterator[Target]:
    with serval(settings) as (_, target):
        yield target


@contextmanager
def program(command: Callable[[Path], list[str]]) -> Iterator[Target]:
    """Run a program that prints its port."""
    with TemporaryDirectory() as folder:
        models.write(Path(folder))
        with subprocess.Popen(command(Path(folder)), stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout
                yield asking(Target(f"http://127.0.0.1:{int(process.stdout.readline())}", process.pid), models.ROW)
            finally:
                process.terminate()


@contextmanager
def peer(
    command: Callable[[Mapping[str, str]], list[str]], target: Target, extra: Mapping[str, str]
) -> Iterator[Target]:
    """Run a peer on a free port until it answers; it and its children are ended."""
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        names = {"port": str(free_port()), "free": str(free_port()), "folder": folder}
        models.write(Path(folder))
        environ = os.environ | {
            "BENCH_MODELS": folder,
            "PYTHONPATH": str(HERE / "peers"),
            "BENTOML_DO_NOT_TRACK": "True",
        }
        environ |= {name: value.format_map(names) for name, value in extra.items()}
        settings = {
            "name": "iris",
            "implementation": "mlserver_sklearn.SKLearnModel",
            "parameters": {"uri": f"{folder}/iris.joblib"},
        }
        (Path(folder) / "model-settings.json").write_text(json.dumps(settings))
        with (Path(folder) / "log").open("w+") as log:
            process = subprocess.Popen(
                command(names), cwd=HERE / "peers", env=environ, stdout=log, stderr=log, start_new_session=True
            )
            try:
                running = asking(replace(target, url=f"http://127.0.0.1:{names['port']}", pid=process.pid), models.ROW)
                _await(running, process, Path(log.name))
                settle(process.pid)
                yield running
            finally:
                _end(process)


def _await(target: Target, process: subprocess.Popen[Any], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx2.post(
                target.url + target.path, content=target.body, headers={"Content-Type": "application/json"}
            ).is_success:
                return
        except httpx2.TransportError:
            pass
        time.sleep(0.2)
    raise NotStarted(f"{process.args!r} does not answer: {log.read_text()[-2000:]}")


def _end(process: subprocess.Popen[Any]) -> None:
    """End a peer; of its children, what outlives it is killed."""
    members = family(process.pid)
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for member in members[1:]:
        try:
            os.kill(member, signal.SIGKILL)
        except ProcessLookupError:
            continue


def v2(row: list[float]) -> Any:
    return {"inputs": [{"name": "rows", "shape": [1, 4], "datatype": "FP64", "data": row}]}


def v2_prediction(answer: dict[str, Any]) -> tuple[int, float | None]:
    return int(answer["outputs"][0]["data"][0]), None


def only_features(row: list[float]) -> Any:
    return {"features": row}


def contenders(*, quick: bool) -> tuple[list[Contender], list[str]]:
    """Return who can be measured here, and a line for each that can not."""
    here: list[Contender] = []
    missing: list[str] = []
    without_front = {"front": "false"} if "front" in KNOWN_SETTINGS else {}
    if without_front:
        here.append(Contender("Serval", "serval", partial(serval_alone, {})))
        here.append(Contender("Serval, cache off", "serval", partial(serval_alone, {"cache_ttl_seconds": "0"})))
    else:
        missing.append("Serval with its front: this version has no setting `front`")
    here.append(Contender("Serval, front off", "serval", partial(serval_alone, without_front)))
    here.append(
        Contender(
            "Serval, front and cache off", "serval", partial(serval_alone, without_front | {"cache_ttl_seconds": "0"})
        )
    )
    for name, arguments in {"alone": ["alone"], "shared": ["shared"], "from memory": ["alone", "memory"]}.items():
        family = "memory" if name == "from memory" else "limit"
        here.append(Contender(f"the limit, {name}", family, partial(program, partial(_limit_command, arguments))))
    if GO.exists():
        here.append(Contender("Go", "go", partial(program, _go_command)))
    else:
        missing.append("Go: no `go` on this machine (https://go.dev/dl, or `apt install golang-go`)")
    peers = PYTHON[:1] if quick else PYTHON
    for contender, program_file in peers:
        if program_file.exists():
            here.append(contender)
        else:
            missing.append(f"{contender.name}: it is not installed (`make bench` installs it)")
    return here, missing


def _limit_command(arguments: list[str], folder: Path) -> list[str]:
    return [str(LIMIT), str(runtime_library()), str(folder / "iris.onnx"), *arguments]


def _go_command(folder: Path) -> list[str]:
    return [str(GO), str(folder / "iris.json")]


def _python(
    name: str, program_file: Path, *arguments: str, target: Target | None = None, extra: Mapping[str, str] | None = None
) -> tuple[Contender, Path]:
    asked = target or Target("", 0, row_body=only_features)

    def command(names: Mapping[str, str]) -> list[str]:
        return [str(program_file), *(argument.format_map(names) for argument in arguments)]

    return Contender(name, "python", partial(peer, command, asked, extra or {})), program_file


_EACH_CORE = str(len(os.sched_getaffinity(0)))
_UVICORN = ("--port", "{port}", "--workers", _EACH_CORE, "--no-access-log", "--log-level", "warning")
_GRANIAN = ("--interface", "asgi", "--port", "{port}", "--workers", _EACH_CORE, "--log-level", "warning")
PYTHON = [
    _python("FastAPI + ONNX Runtime", PEERS / "uvicorn", "fastapi_onnxruntime:app", *_UVICORN),
    _python("FastAPI + scikit-learn pickle", PEERS / "uvicorn", "fastapi_sklearn:app", *_UVICORN),
    _python("Litestar on Granian + ONNX Runtime", PEERS / "granian", *_GRANIAN, "litestar_onnxruntime:app"),
    _python(
        "MLServer, scikit-learn",
        MLSERVER / "mlserver",
        "start",
        "{folder}",
        target=Target("", 0, path="/v2/models/iris/infer", row_body=v2, read=v2_prediction),
        extra={
            "MLSERVER_HTTP_PORT": "{port}",
            "MLSERVER_GRPC_PORT": "{free}",
            "MLSERVER_METRICS_ENDPOINT": "",
            "MLSERVER_HOST": "127.0.0.1",
        },
    ),
    _python("LitServe + ONNX Runtime", PEERS / "python", "litserve_onnxruntime.py", "{port}"),
    _python(
        "BentoML + ONNX Runtime",
        PEERS / "bentoml",
        "serve",
        "bentoml_onnxruntime:Iris",
        "--port",
        "{port}",
        "--host",
        "127.0.0.1",
    ),
    _python(
        "Ray Serve + ONNX Runtime",
        PEERS / "python",
        "ray_onnxruntime.py",
        "{port}",
        extra={"RAY_USAGE_STATS_ENABLED": "0"},
    ),
]
"""As their documentation starts them; FastAPI and Litestar with a worker a core."""
