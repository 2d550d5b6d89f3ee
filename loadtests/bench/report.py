"""Tables of what was measured, for the terminal and for `docs/benchmarks.md`."""

import platform
import re
import subprocess
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from bench.budgets import Figure
from bench.wrk import Measured

PAGE = Path(__file__).parents[2] / "docs" / "benchmarks.md"
WORDS = {True: "reached", False: "**not reached**", None: "not measured"}


def versions() -> dict[str, str]:
    wrk = (
        subprocess.run(["wrk", "-v"], capture_output=True, text=True, check=False)
        .stdout.split("[")[0]
        .removeprefix("wrk ")
        .strip()
    )
    return {
        "versions": ", ".join(
            [
                f"Serval {version('serval')}",
                f"ONNX Runtime {version('onnxruntime')}",
                f"Python {platform.python_version()}",
                f"wrk {wrk}",
            ]
        )
    }


def table(rows: Mapping[str, Mapping[int, Measured]]) -> str:
    """Requests/s, p50, p99 and processor time by server and connections."""
    counts = sorted({count for row in rows.values() for count in row})
    heads = [f"{count} connection{'s' if count > 1 else ''}" for count in counts]
    lines = ["| server | " + " | ".join(heads) + " |", "|---|" + "---|" * len(counts)]
    lines += [f"| {name} | " + " | ".join(cell(row[count]) for count in counts) + " |" for name, row in rows.items()]
    return "\n".join(lines)


def cell(seen: Measured) -> str:
    latency = f"p50 {_time(seen.p50_us)}, p99 {_time(seen.p99_us)}"
    return f"{seen.requests_per_second:,.0f}/s, {latency}, {seen.cpu_us:.1f} µs CPU"


def _time(microseconds: float) -> str:
    return f"{microseconds:.0f} µs" if microseconds < 1000 else f"{microseconds / 1000:.1f} ms"


def line(figure: Figure) -> str:
    return f"{WORDS[figure.is_reached].strip('*'):12}  {figure.goal}: {figure.measured}"


def write_docs(
    described: Mapping[str, str],
    missing: Sequence[str],
    rows: Mapping[str, Mapping[int, Measured]],
    budgets: Sequence[Figure],
) -> None:
    """Put the figures between the marks of the page."""
    on = "\n".join(f"- {name}: {value}" for name, value in described.items())
    blocks = {
        "machine": on + "".join(f"\n- left out: {each}" for each in missing),
        "table": table(rows),
        "budgets": "\n".join(
            [
                "| goal | measured | |",
                "|---|---|---|",
                *(f"| {each.goal} | {each.measured} | {WORDS[each.is_reached]} |" for each in budgets),
            ]
        ),
    }
    page = PAGE.read_text()
    for name, text in blocks.items():
        page = re.sub(
            rf"(<!-- measured: {name} -->\n).*?(<!-- end -->)",
            lambda mark, text=text: f"{mark[1]}{text}\n{mark[2]}",
            page,
            flags=re.DOTALL,
        )
    PAGE.write_text(page)
