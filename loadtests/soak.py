"""`make soak`: whether memory stays constant over a million requests and over 500 loads and unloads of a model."""

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier

from bench.budgets import MEGABYTE, reload
from bench.contenders import serval
from bench.system import machine, resident_bytes
from bench.wrk import measure

RESULTS = Path(__file__).parent / "bench" / "results"
CACHE_BYTES = 16 * MEGABYTE
"""Of the first level, small enough to be full long before the first sample counts."""
GROWTH = 0.05
"""From a tenth of the requests to the last one."""
CYCLE_GROWTH = 0.02
"""From a tenth of the cycles to the last one: none, but for how the allocators round."""
RUN_SECONDS = 5

Samples = list[tuple[int, int]]
"""(requests or cycles so far, resident bytes)."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="soak", description=__doc__)
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--cycles", type=int, default=500)
    options = parser.parse_args()
    with TemporaryDirectory() as folder, serval({"cache_bytes": str(CACHE_BYTES)}, Path(folder)) as (server, target):
        batches = replace(target, path="/api/v1/predict/iris")
        requests = [(0, resident_bytes(target.pid))]
        while requests[-1][0] < options.requests:
            seen = measure(batches, 16, RUN_SECONDS, batches="yes")
            requests.append(sample("requests", requests[-1][0] + int(seen.requests), target.pid))
        target.check()
        server.upload("forest", RandomForestClassifier(100, random_state=0).fit(*load_iris(return_X_y=True)))
        cycles = [(0, resident_bytes(target.pid))]
        while cycles[-1][0] < options.cycles:
            for _ in range(min(10, options.cycles - cycles[-1][0])):
                reload(server, "forest")
            cycles.append(sample("cycles", min(options.cycles, cycles[-1][0] + 10), target.pid))
        target.check()
    verdicts = {
        "requests": verdict("requests", requests, GROWTH),
        "cycles": verdict("load/unload cycles", cycles, CYCLE_GROWTH),
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "soak.json").write_text(json.dumps({"machine": machine(), **verdicts}, indent=1))
    return 0 if all(each["is_reached"] for each in verdicts.values()) else 1


def sample(what: str, count: int, pid: int) -> tuple[int, int]:
    resident = resident_bytes(pid)
    sys.stdout.write(f"{count:>9,} {what}: {resident / MEGABYTE:.1f} MB\n")
    sys.stdout.flush()
    return count, resident


def verdict(what: str, samples: Samples, most: float) -> dict[str, Any]:
    """Compare the first sample past a tenth of the way with the last."""
    end, last = samples[-1]
    start, first = next(each for each in samples if each[0] >= end / 10)
    growth = last / first - 1
    text = f"{growth:+.1%} between {start:,} and {end:,} {what} ({first / MEGABYTE:.1f} to {last / MEGABYTE:.1f} MB)"
    sys.stdout.write(f"{text}, at most {most:.0%}: {'reached' if growth <= most else 'NOT REACHED'}\n")
    return {"measured": text, "is_reached": growth <= most, "samples": samples}


if __name__ == "__main__":
    sys.exit(main())
