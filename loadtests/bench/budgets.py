"""The budgets, row by row: each scenario measures one and says whether it is reached."""

import json
import os
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import httpx2

from bench import models, open_loop
from bench.contenders import KNOWN_SETTINGS, Target, asking, contenders, features, serval
from bench.system import free_port, pinned_to, resident_bytes, serving_process, settle
from bench.wrk import Load, Measured, beside, measure
from serval.auth.key_format import new_key
from serving import Server, serving

MEGABYTE = 1024**2
NO_CACHE = {"cache_ttl_seconds": "0"}


@dataclass(frozen=True)
class Figure:
    """A goal and what was measured; `is_reached` is None where it could not be."""

    goal: str
    measured: str
    is_reached: bool | None


@dataclass(frozen=True)
class Bench:
    """What scenarios are given: the table, if it was measured, and how long to look."""

    table: Mapping[str, Mapping[int, Measured]]
    seconds: int
    rounds: int

    @property
    def serval(self) -> str:
        """The contender that is Serval as installed."""
        return "Serval" if "front" in KNOWN_SETTINGS else "Serval, front off"

    @property
    def serval_without_cache(self) -> str:
        return "Serval, cache off" if "front" in KNOWN_SETTINGS else "Serval, front and cache off"

    def limit(self, connections: int) -> Measured:
        """The faster design of the limit program."""
        both = [
            self.table[name][connections] for name in self.table if name in {"the limit, alone", "the limit, shared"}
        ]
        return max(both, key=lambda seen: seen.requests_per_second)


def skipped(goal: str, reason: str) -> Figure:
    return Figure(goal, reason, None)


def against_the_limit(bench: Bench) -> Iterator[Figure]:
    goal = "predict against the limit program: ≥ 0.90 of its requests/s, ≤ 1.10 of its p50"
    if bench.serval not in bench.table or "the limit, alone" not in bench.table:
        yield skipped(goal, "the table was not measured")
        return
    for name in (bench.serval, bench.serval_without_cache):
        for count, seen in bench.table[name].items():
            limit = bench.limit(count)
            speed, wait = seen.requests_per_second / limit.requests_per_second, seen.p50_us / limit.p50_us
            work = f"{seen.cpu_us:.1f} against {limit.cpu_us:.1f} µs of processor a request"
            text = f"{speed:.2f} of its requests/s, {wait:.2f} of its p50; {work}"
            yield Figure(f"{goal} ({name}, {count} connections)", text, speed >= 0.9 and wait <= 1.1)


def against_go(bench: Bench) -> Iterator[Figure]:
    goal = "predict against the Go server: ≥ 1.2 × at 16 and 64 connections, p50 at 1 no worse"
    if bench.serval not in bench.table or "Go" not in bench.table:
        yield skipped(goal, "no Go server in the table")
        return
    ours, go = bench.table[bench.serval], bench.table["Go"]
    ratios = [ours[count].requests_per_second / go[count].requests_per_second for count in (16, 64)]
    p50 = f"p50 at 1: {ours[1].p50_us:.0f} against {go[1].p50_us:.0f} µs"
    text = f"{ratios[0]:.2f} × at 16, {ratios[1]:.2f} × at 64; {p50}"
    yield Figure(goal, text, min(ratios) >= 1.2 and ours[1].p50_us <= go[1].p50_us)


def against_python(bench: Bench) -> Iterator[Figure]:
    goal = "against every Python server, same model: ≥ 10 × at 16 connections"
    names = [each.name for each in contenders(quick=False)[0] if each.family == "python" and each.name in bench.table]
    if bench.serval not in bench.table or not names:
        yield skipped(goal, "no Python server in the table")
        return
    for name in names:
        ratio = bench.table[bench.serval][16].requests_per_second / bench.table[name][16].requests_per_second
        yield Figure(f"{goal} ({name})", f"{ratio:.1f} ×", ratio >= 10)


def tail(bench: Bench) -> Iterator[Figure]:
    goal = "p99 at 16 connections: ≤ 4 × p50"
    if bench.serval not in bench.table:
        yield skipped(goal, "the table was not measured")
        return
    seen = bench.table[bench.serval][16]
    yield Figure(
        goal,
        f"{seen.p99_us / seen.p50_us:.1f} × ({seen.p99_us:.0f} against {seen.p50_us:.0f} µs)",
        seen.p99_us <= 4 * seen.p50_us,
    )


@contextmanager
def two(
    one: Mapping[str, str], other: Mapping[str, str], *, is_pinned: bool = False
) -> Iterator[tuple[Target, Target]]:
    """Two servers that wait for each other's turn; pinned, both to core 0."""
    with ExitStack() as stack, ExitStack() as pin:
        if is_pinned:
            pin.enter_context(pinned_to(0))
        both = [stack.enter_context(serval(settings))[1] for settings in (one, other)]
        pin.close()
        for target in both:
            measure(target, 16, 1)
        yield both[0], both[1]


def everything_on(bench: Bench) -> Iterator[Figure]:
    """Rows are all different, so that on means the whole path: key, rate, both look-ups, the run, remembering, history
    and log."""
    goal = "everything on against everything off: ≤ 1.2 µs a request on one core"
    off = known({"cache_ttl_seconds": "0", "history_sample": "0", "log_predictions_sample": "0"})
    with redis() as url:
        on = known({"predict_rate": "1000000/s", "cache_url": url})
        with two(on, off, is_pinned=True) as (full, bare):
            client = {"core": max(os.sched_getaffinity(0)), "distinct": "iris"}
            runs = [
                [measure(target, 16, bench.seconds, **client) for target in (full, bare)] for _ in range(bench.rounds)
            ]
    costs = [median(pair[place].cpu_us for pair in runs) for place in (0, 1)]
    text = (
        f"{costs[0] - costs[1]:+.2f} µs of processor ({costs[0]:.2f} against {costs[1]:.2f}); "
        f"on: {', '.join(on) or 'the defaults'}; off: {', '.join(off)}"
    )
    yield Figure(goal, text, costs[0] - costs[1] <= 1.2)


def limits_and_log(bench: Bench) -> Iterator[Figure]:
    """One row again and again, which the first cache level answers, so that nothing else weighs; whose key it is is
    looked up in both."""
    goal = "rates of user and key, quota, history and log together: ≤ 1.2 µs a request on one core"
    with two({"predict_rate": "1000000/s"}, {"history_sample": "0", "log_predictions_sample": "0"}, is_pinned=True) as (
        full,
        bare,
    ):
        limited = replace(full, key=limited_key(full))
        core = max(os.sched_getaffinity(0))
        runs = [
            [measure(target, 16, bench.seconds, core=core) for target in (limited, bare)]
            for _ in range(3 * bench.rounds)
        ]
    more = sorted(on.cpu_us - off.cpu_us for on, off in runs)
    without = median(off.cpu_us for _, off in runs)
    text = f"{median(more):+.2f} µs of CPU ({more[0]:+.2f} to {more[-1]:+.2f}; {without:.2f} without)"
    yield Figure(goal, text, median(more) <= 1.2)


def limited_key(target: Target) -> str:
    """A new key with every limit that a key can have."""
    name = f"limited {secrets.token_hex(4)}"
    limits = {"name": name, "scopes": ["predict"], "predict_rate": "1000000/s", "monthly_quota": 10**12}
    answer = httpx2.post(f"{target.url}/api/v1/api-keys", json=limits, headers={"X-API-Key": target.key})
    return str(answer.raise_for_status().json()["key"])


def known(settings: Mapping[str, str]) -> dict[str, str]:
    """Those settings that this version has."""
    return {name: value for name, value in settings.items() if name in KNOWN_SETTINGS}


def all_distinct(bench: Bench) -> Iterator[Figure]:
    goal = "all inputs distinct, cache on: ≥ 0.95 of cache off"
    with two({}, NO_CACHE) as (on, off):
        pairs = [
            [measure(target, 16, bench.seconds, distinct="iris") for target in (on, off)] for _ in range(bench.rounds)
        ]
    ratio = median(on.requests_per_second / off.requests_per_second for on, off in pairs)
    work = median(on.cpu_us / off.cpu_us for on, off in pairs)
    yield Figure(goal, f"{ratio:.2f} of its requests/s, {work:.2f} of its processor time", ratio >= 0.95)


def level_one(bench: Bench) -> Iterator[Figure]:
    goal = "level-one hit against a miss of a 2 ms model: ≥ 20 × faster"
    with serval({}) as (server, target):
        server.upload("slow", models.two_milliseconds())
        slow = asked_for(target, "slow")
        miss = measure(slow, 1, bench.seconds, distinct="slow")
        cache_of(slow)
        level = cache_of(slow)
        hit = measure(slow, 1, bench.seconds)
    ratio = miss.p50_us / hit.p50_us
    yield Figure(
        goal,
        f"{ratio:.0f} × (p50 {hit.p50_us:.0f} against {miss.p50_us:.0f} µs; X-Cache: {level})",
        level == "l1" and ratio >= 20,
    )


def asked_for(target: Target, model: str) -> Target:
    return asking(replace(target, model=model, row_body=lambda row: features(row) | {"model_name": model}), models.ROW)


def cache_of(target: Target) -> str:
    """Which level answers."""
    headers = {"X-API-Key": target.key, "Content-Type": "application/json"}
    return str(
        httpx2.post(target.url + target.path, content=target.body, headers=headers)
        .raise_for_status()
        .headers["x-cache"]
    )


def level_two(bench: Bench) -> Iterator[Figure]:
    goal = "level-two hit, Redis on the same machine: ≤ 250 µs p50 over the front's floor"
    if "cache_url" not in KNOWN_SETTINGS:
        yield skipped(goal, "this version has no setting `cache_url`")
        return
    with redis() as url, serval({"cache_url": url, "cache_bytes": "0"}) as (server, target):
        server.upload("slow", models.two_milliseconds())
        slow = asked_for(target, "slow")
        cache_of(slow)
        level = cache_of(slow)
        floor, hit = measure(target, 1, bench.seconds), measure(slow, 1, bench.seconds)
    over = hit.p50_us - floor.p50_us
    text = f"{over:.0f} µs over {floor.p50_us:.0f} (X-Cache: {level})"
    yield Figure(goal, text, level == "l2" and over <= 250)


@contextmanager
def redis() -> Iterator[str]:
    """A Redis-compatible server of its own."""
    from serval.process.valkey import binary

    port = free_port()
    with TemporaryDirectory() as folder:
        command = [str(binary()), "--port", str(port), "--bind", "127.0.0.1", "--dir", folder, "--save", ""]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
            try:
                yield f"redis://127.0.0.1:{port}/0"
            finally:
                process.terminate()


def many_rows(bench: Bench) -> Iterator[Figure]:
    goal = "1000 rows × 30 features in one request, 300-tree forest: decode + encode ≤ the model's own time"
    body = json.dumps({"inputs": models.forest_rows(1000)}).encode()
    with serval({}) as (server, _):
        server.upload("forest", models.forest())
        spent: list[tuple[float, float]] = []
        for _ in range(20 * bench.seconds):
            headers = {"Content-Type": "application/json", "Cache-Control": "no-cache"}
            response = server.http.post("/api/v1/predict/forest", content=body, headers=headers).raise_for_status()
            stages = {
                name: float(value)
                for name, _, value in (
                    each.strip().partition(";dur=") for each in response.headers["server-timing"].split(",")
                )
            }
            encode = response.json()["latency_ms"] - sum(stages.values())
            spent.append((stages["parse"] + max(encode, 0), stages["infer"]))
    around, model = (median(pair[place] for pair in spent) for place in (0, 1))
    yield Figure(goal, f"{around:.2f} ms around {model:.2f} ms of the model", around <= model)


def strings(bench: Bench) -> Iterator[Figure]:
    """Without the cache, so that each request is read and run."""
    row = models.customers()[0].iloc[0].to_dict()
    numbers = {name: value for name, value in row.items() if not isinstance(value, str)}
    numbers |= {f"{name}_before": value for name, value in numbers.items()}
    with serval(NO_CACHE) as (server, target):
        server.upload("churn", models.churn())
        server.upload("numbers", models.churn_of_numbers())

        def asked(model: str, rows: Mapping[str, object]) -> Target:
            return replace(target, path=f"/api/v1/predict/{model}", body=json.dumps(rows).encode())

        both = asked("churn", {"input": row}), asked("numbers", {"input": numbers})
        for connections in (1, 16):
            goal = f"a named row of 3 numbers and 3 strings: ≥ 0.75 of the requests/s of 6 numbers ({connections} open)"
            pairs = [[measure(each, connections, bench.seconds) for each in both] for _ in range(bench.rounds)]
            ratio = median(one.requests_per_second / other.requests_per_second for one, other in pairs)
            p50s = [median(pair[place].p50_us for pair in pairs) for place in (0, 1)]
            text = f"{ratio:.2f} of them; p50 {p50s[0]:.0f} against {p50s[1]:.0f} µs"
            yield Figure(goal, text, ratio >= 0.75)
        rows = [dict(each) for each in models.customers()[0].head(100).to_dict("records")]
        seen = measure(asked("churn", {"inputs": rows}), 1, bench.seconds)
    yield Figure("100 such rows: ≤ 3 µs a row, all in", f"{seen.p50_us / 100:.2f} µs a row", seen.p50_us <= 300)


def wrong_keys(bench: Bench) -> Iterator[Figure]:
    """The flood's client needs a share of the cores too; the second figure has the same client beside a server that
    does nothing."""
    goal = "wrong keys on 64 connections beside good traffic on 16: ≥ 0.8 of its requests/s"
    bystander = next(each for each in contenders(quick=True)[0] if each.name == "the limit, alone")
    with serval({}) as (_, target), bystander.start() as other, TemporaryDirectory() as folder:
        keys = Path(folder) / "keys"
        keys.write_text("".join(f"{new_key()}\n" for _ in range(20_000)))
        ratios, fair = [], []
        for _ in range(bench.rounds):
            alone = measure(target, 16, bench.seconds)
            with beside(target, 64, wrong_keys=str(keys)):
                attacked = measure(target, 16, bench.seconds)
            with beside(replace(other, path="/nothing"), 64, wrong_keys=str(keys)):
                distracted = measure(target, 16, bench.seconds)
            ratios.append(attacked.requests_per_second / alone.requests_per_second)
            fair.append(attacked.requests_per_second / distracted.requests_per_second)
    text = (
        f"{median(ratios):.2f} of its rate alone; "
        f"{median(fair):.2f} of its rate beside the same flood on a bare hyper server"
    )
    yield Figure(goal, text, median(ratios) >= 0.8)


def second_model(bench: Bench) -> Iterator[Figure]:
    goal = "a second model loading while the first serves: p99 of the first ≤ 1.5 ×"
    waits: list[tuple[float, float, float]] = []
    with serval({}) as (server, target):
        server.upload("forest", models.forest())
        for _ in range(bench.rounds):
            alone = measure(target, 16, bench.seconds)
            with repeated(lambda: reload(server, "forest")) as loads:
                loading = measure(target, 16, bench.seconds)
            with repeated(lambda: server.upload("another", models.forest())) as uploads:
                converting = measure(target, 16, bench.seconds)
            waits.append((alone.p99_us, loading.p99_us, converting.p99_us))
    p99s = [median(each[place] for each in waits) for place in range(3)]
    text = (
        f"{p99s[1] / p99s[0]:.2f} × while loading ({len(loads)} times in the last round; p99 alone {p99s[0]:.0f} µs), "
        f"{p99s[2] / p99s[0]:.2f} × while converting ({len(uploads)} times)"
    )
    yield Figure(goal, text, p99s[1] <= 1.5 * p99s[0])


def reload(server: Server, model: str) -> None:
    """Take a model out of memory and load it again."""
    found = server.http.get(f"/api/v1/models/{model}").raise_for_status().json()
    server.http.delete(f"/api/v1/models/{model}").raise_for_status()
    server.http.post(f"/api/v1/models/{found['id']}/restore").raise_for_status()
    server.http.post(f"/api/v1/models/{model}/test").raise_for_status()


@contextmanager
def repeated(action: Callable[[], None]) -> Iterator[list[float]]:
    """Do something again and again beside the block; yields when each ended."""
    ended: list[float] = []
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            action()
            ended.append(time.monotonic())

    worker = threading.Thread(target=work)
    worker.start()
    try:
        yield ended
    finally:
        stop.set()
        worker.join()


def expensive_beside_cheap(bench: Bench) -> Iterator[Figure]:
    goal = "64 connections of an expensive model (10 ms) beside a cheap one: p99 of the cheap one ≤ 5 ms"
    with serval({}) as (server, target):
        server.upload("slow", models.ten_milliseconds())
        with beside(asked_for(target, "slow"), 64, distinct="slow"):
            cheap = measure(target, 16, 2 * bench.seconds)
    yield Figure(
        goal,
        f"p99 {cheap.p99_us / 1e3:.1f} ms, p50 {cheap.p50_us / 1e3:.2f} ms on 16 connections",
        cheap.p99_us <= 5000,
    )


def overload(bench: Bench) -> Iterator[Figure]:
    """Of the 10 ms model, because the client has to offer three times what the same cores can answer."""
    goal = "overload (3 × capacity offered): goodput ≥ 0.9 of capacity; the rest 503 at once"
    with serval({}) as (server, target):
        server.upload("slow", models.ten_milliseconds())
        slow = asked_for(target, "slow")
        before = saturated(slow, bench.seconds)
        seen = open_loop.offer(slow, 3 * before, 4 * bench.seconds)
        after = saturated(slow, bench.seconds)
        capacity = (before + after) / 2
    ratio, refused = seen.goodput / capacity, seen.refused
    text = (
        f"goodput {ratio:.2f} of {capacity:.0f}/s; {refused} × 503, p99 {seen.refused_p99_ms:.0f} ms; "
        f"{seen.answered} × 200, p50 {seen.answered_p50_ms:.0f} ms; {seen.others} others"
    )
    yield Figure(goal, text, ratio >= 0.9 and seen.others == 0 and seen.refused_p99_ms <= 50)


def saturated(target: Target, seconds: int) -> float:
    """Good answers a second to 64 connections, as many as batching needs to be at its best."""
    return Load(target, 64, 4 * seconds, distinct="slow").result(may_be_refused=True).requests_per_second


def memory(_: Bench) -> Iterator[Figure]:
    """A model's bytes are what a restarted server has more with it, where each of its models was asked once."""
    with TemporaryDirectory() as folder:
        with serving(Path(folder), {}) as server:
            settle(server.process.pid)
            idle = resident_bytes(serving_process(server.process.pid))
            server.upload("iris", models.iris())
        yield Figure("serving process idle: ≤ 150 MB", f"{idle / MEGABYTE:.0f} MB", idle <= 150 * MEGABYTE)
        without = resident_when_asked(Path(folder), ["iris"])
        with serving(Path(folder), {}) as server:
            server.upload("forest", models.deep_forest())
            graphs = [
                server.http.get(f"/api/v1/models/{name}/versions/1/download").content for name in ("iris", "forest")
            ]
        model = resident_when_asked(Path(folder), ["iris", "forest"]) - without
    bare = bare_session_bytes(graphs)
    graph = len(graphs[1]) / MEGABYTE
    text = f"{model / bare:.2f} × ({model / MEGABYTE:.1f} against {bare / MEGABYTE:.1f} MB; its graph {graph:.1f} MB)"
    yield Figure("a model: ≤ 1.1 × one bare ONNX Runtime session of it", text, model <= 1.1 * bare)


def resident_when_asked(folder: Path, names: list[str]) -> int:
    """Memory of a freshly started serving process whose models were asked once."""
    with serving(folder, {}) as server:
        settle(server.process.pid)
        for name in names:
            server.http.post(f"/api/v1/models/{name}/test").raise_for_status()
        return resident_bytes(serving_process(server.process.pid))


def start(bench: Bench) -> Iterator[Figure]:
    goal = "start to first prediction, model on disk: ≤ 1.5 s"
    with TemporaryDirectory() as folder:
        with serving(Path(folder), {}) as server:
            server.upload("forest", models.forest())
        spent = []
        for _ in range(bench.rounds):
            began = time.monotonic()
            with serving(Path(folder), {}) as server:
                server.http.post("/api/v1/predict/forest", json={"inputs": models.forest_rows(1)}).raise_for_status()
                spent.append(time.monotonic() - began)
    yield Figure(goal, f"{median(spent):.2f} s", median(spent) <= 1.5)


BARE = """
import sys
from onnxruntime import InferenceSession, SessionOptions
def resident(): return next(int(l.split()[1]) * 1024 for l in open("/proc/self/status") if l.startswith("VmRSS:"))
options = SessionOptions()
options.intra_op_num_threads = 1
options.enable_cpu_mem_arena = options.enable_mem_pattern = False
first = InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
before = resident()
second = InferenceSession(sys.argv[2], options, providers=["CPUExecutionProvider"])
print(resident() - before)
"""


def bare_session_bytes(graphs: list[bytes]) -> int:
    """What a session of the second graph adds to a process that has one of the first."""
    with TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{place}.onnx" for place in range(len(graphs))]
        for path, graph in zip(paths, graphs, strict=True):
            path.write_bytes(graph)
        return int(
            subprocess.run([sys.executable, "-c", BARE, *paths], check=True, capture_output=True, text=True).stdout
        )


SCENARIOS: list[Callable[[Bench], Iterator[Figure]]] = [
    against_the_limit,
    against_go,
    against_python,
    tail,
    everything_on,
    limits_and_log,
    all_distinct,
    level_one,
    level_two,
    many_rows,
    strings,
    wrong_keys,
    second_model,
    expensive_beside_cheap,
    overload,
    memory,
    start,
]
