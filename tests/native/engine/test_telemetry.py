"""ONNX Runtime's official builds send telemetry; ours must not."""

import subprocess
import sys
from pathlib import Path

OPEN = """
from serval._native import DataPlane
from serval.data_plane.runtime import runtime_library
from serval.data_plane.settings import settings_to_run_a_model
DataPlane(settings_to_run_a_model(str(runtime_library()), max_rows=1))
"""


def test_opening_the_engine_leaves_nothing_below_the_home_folder(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", OPEN], env={"HOME": str(tmp_path), "TMPDIR": str(tmp_path)}, check=True)
    assert list(tmp_path.iterdir()) == []
