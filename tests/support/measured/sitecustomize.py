"""Measures the lines that a process of Serval runs, where a test run asks for it, and leaves them to coverage.py.

Python runs this before all else where its folder is on the path. SlipCover puts a probe into each line once; the
tracing of coverage.py on Python 3.11 makes a server three times as slow.
"""

import atexit
import os
from pathlib import Path
from types import CodeType
from typing import Any

MEASURED = os.environ.get("MEASURED_BY_TESTS")
"""The folders whose lines count; empty or missing: nothing is measured."""

if MEASURED:
    from slipcover import FileMatcher, ImportManager, Slipcover
    from slipcover.importer import SlipcoverLoader

    lines = Slipcover(
        d_miss_threshold=-1
    )  # to take probes out again, it would look through all modules, again and again
    ImportManager(lines, FileMatcher(sources=[Path(folder) for folder in MEASURED.split(os.pathsep)])).__enter__()

    def code_of_main(loader: Any, name: str) -> CodeType:
        """What `python -m` runs, which is not imported."""
        code: CodeType = loader.sci.instrument(loader.orig_loader.get_code(name))
        return code

    SlipcoverLoader.get_code = code_of_main

    def write() -> None:
        from coverage import CoverageData

        seen: dict[str, set[int]] = {}
        for found in (lines.all_seen, lines.newly_seen):
            for name, numbers in found.items():
                seen.setdefault(name, set()).update(numbers)
        data = CoverageData(os.environ["COVERAGE_FILE"], suffix=True)
        data.add_lines(seen)
        data.write()

    atexit.register(write)
