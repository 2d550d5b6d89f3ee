"""Drives wrk, the closed-loop client, and says what it measured and what it cost the server."""

import itertools
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile

from bench.contenders import Target
from bench.system import cpu_seconds

SCRIPT = Path(__file__).with_name("load.lua")
_seeds = itertools.count(os.getpid())


@dataclass(frozen=True)
class Measured:
    """What a run of the client saw; requests a second are those with a 2xx, `cpu_us` is processor time of the server
    for a request."""

    requests_per_second: float
    p50_us: float
    p99_us: float
    cpu_us: float
    requests: int
    refused: int


class Load:
    """A run of the client that is under way."""

    def __init__(self, target: Target, connections: int, seconds: int, *, core: int | None = None, **vary: str) -> None:
        """`vary`: what makes each request different, as `load.lua` has it."""
        self._target = target
        environ = {name: value for name, value in os.environ.items() if not name.startswith("BENCH_")}
        environ |= {"BENCH_PATH": target.path, "BENCH_KEY": target.key, "BENCH_SEED": str(next(_seeds))}
        environ |= {f"BENCH_{name.upper()}": value for name, value in vary.items()}
        with NamedTemporaryFile(delete=False) as body:
            body.write(target.body)
        self._body = Path(body.name)
        command = [
            "wrk",
            "-t1",
            f"-c{connections}",
            f"-d{seconds}s",
            "--timeout",
            "30s",
            "--latency",
            "-s",
            str(SCRIPT),
            target.url,
        ]
        pinned = [] if core is None else ["taskset", "-c", str(core)]
        self._cpu_before = cpu_seconds(target.pid)
        self._client = subprocess.Popen(
            [*pinned, *command], env=environ | {"BENCH_BODY": body.name}, stdout=subprocess.PIPE, text=True
        )

    def result(self, *, may_be_refused: bool = False) -> Measured:
        """Wait for its end. Raises RuntimeError when an answer was no 2xx, or none came."""
        text, _ = self._client.communicate()
        cpu = cpu_seconds(self._target.pid) - self._cpu_before
        self._body.unlink()
        seen = json.loads(text.strip().rpartition("\n")[2])
        if seen["broken"] or (seen["refused"] and not may_be_refused) or not seen["requests"]:
            raise RuntimeError(f"{self._target.url}{self._target.path}: {seen}")
        return Measured(
            requests_per_second=(seen["requests"] - seen["refused"]) / seen["seconds"],
            p50_us=seen["p50_us"],
            p99_us=seen["p99_us"],
            cpu_us=cpu / seen["requests"] * 1e6,
            requests=seen["requests"],
            refused=seen["refused"],
        )

    def stop(self) -> None:
        """End it; what it saw is lost."""
        self._client.kill()
        self._client.communicate()
        self._body.unlink()


def measure(target: Target, connections: int, seconds: int, *, core: int | None = None, **vary: str) -> Measured:
    """Load a server and wait. Raises RuntimeError when an answer was no 2xx."""
    return Load(target, connections, seconds, core=core, **vary).result()


@contextmanager
def beside(target: Target, connections: int, **vary: str) -> Iterator[None]:
    """Load a server for as long as the block lasts, whatever it answers."""
    load = Load(target, connections, 3600, **vary)
    try:
        yield
    finally:
        load.stop()
