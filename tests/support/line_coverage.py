"""Hands the lines that SlipCover saw to coverage.py, whose report then counts those of all processes.

`python -m support.line_coverage FILE`: the JSON that SlipCover wrote.
"""

import json
import sys
from pathlib import Path

from coverage import CoverageData


def main(written: Path) -> None:
    files = json.loads(written.read_text())["files"]
    data = CoverageData(suffix="tests")
    data.add_lines({str(Path(name).resolve()): file["executed_lines"] for name, file in files.items()})
    data.write()
    written.unlink()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
