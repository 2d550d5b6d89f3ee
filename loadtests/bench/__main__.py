"""`make bench`: Serval, the limit program, a Go server and Python servers, in turn on the same cores."""

import argparse
import json
import shutil
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from bench import report
from bench.budgets import SCENARIOS, Bench
from bench.contenders import Contender, NotStarted, Target, contenders
from bench.system import machine
from bench.wrk import Measured, measure

CONNECTIONS = (1, 16, 64)
RESULTS = Path(__file__).parent / "results"


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one round of a second, one Python server")
    parser.add_argument("--only", help="scenarios and servers whose name holds this")
    parser.add_argument("--no-table", action="store_true", help="the scenarios only")
    parser.add_argument("--no-scenarios", action="store_true", help="the table only")
    parser.add_argument("--write-docs", action="store_true", help="put the figures into docs/benchmarks.md")
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        sys.stderr.write("bench: `wrk` is missing: `apt install wrk`\n")
        return 1
    chosen, missing = contenders(quick=options.quick and not options.only)
    for line in missing:
        sys.stdout.write(f"left out: {line}\n")
    seconds, rounds = (1, 1) if options.quick else (3, 3)
    described = machine() | {"date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"} | report.versions()
    wanted = [each for each in chosen if not options.only or options.only in each.name]
    table = {} if options.no_table else measured(wanted, rounds, seconds, missing)
    sys.stdout.write("\n" + report.table(table) + "\n\n")
    bench = Bench(table, seconds, rounds)
    budgets = []
    for scenario in [] if options.no_scenarios else SCENARIOS:
        if options.only and options.only not in scenario.__name__:
            continue
        for figure in scenario(bench):
            budgets.append(figure)
            sys.stdout.write(report.line(figure) + "\n")
            sys.stdout.flush()
    RESULTS.mkdir(exist_ok=True)
    results = {
        "machine": described,
        "left_out": missing,
        "table": {name: {str(count): asdict(seen) for count, seen in row.items()} for name, row in table.items()},
        "budgets": [asdict(figure) for figure in budgets],
    }
    (RESULTS / "bench.json").write_text(json.dumps(results, indent=1))
    sys.stdout.write(f"\n{RESULTS / 'bench.json'}\n")
    if options.write_docs:
        report.write_docs(described, missing, table, budgets)
    return 0


def measured(chosen: list[Contender], rounds: int, seconds: int, missing: list[str]) -> dict[str, dict[int, Measured]]:
    """Medians of interleaved rounds, by contender and connections; who does not start is `missing`. Raises
    RuntimeError."""
    seen: defaultdict[str, defaultdict[int, list[Measured]]] = defaultdict(lambda: defaultdict(list))
    for number in range(rounds):
        for contender in chosen:
            try:
                with contender.start() as target:
                    for count, run in measured_once(target, seconds):
                        seen[contender.name][count].append(run)
            except NotStarted as error:
                missing.append(f"{contender.name}: it does not start")
                sys.stderr.write(f"{error}\n")
                continue
            figures = ", ".join(f"{runs[-1].requests_per_second:,.0f}" for runs in seen[contender.name].values())
            sys.stdout.write(f"round {number + 1}: {contender.name}: {figures} requests/s\n")
            sys.stdout.flush()
    return {name: {count: middle(runs) for count, runs in row.items()} for name, row in seen.items()}


def measured_once(target: Target, seconds: int) -> Iterator[tuple[int, Measured]]:
    target.check()
    measure(target, 16, 1)
    for count in CONNECTIONS:
        yield count, measure(target, count, seconds)
    target.check()


def middle(runs: list[Measured]) -> Measured:
    """The median of each figure."""
    return Measured(**{name: median(getattr(run, name) for run in runs) for name in Measured.__dataclass_fields__})


if __name__ == "__main__":
    sys.exit(main())
