"""Measures what a column of many categories costs: conversion, its memory, and the memory of the loaded graph.

python loadtests/categories.py
"""

import multiprocessing
import resource
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, TargetEncoder
from sklearn.tree import DecisionTreeRegressor

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from serval import _native
from serval.conversion import samples
from serval.conversion.from_sklearn import convert
from serval.conversion.verify.data_plane_engine import numbers_of, strings_of
from serval.data_plane.runtime import runtime_library
from serval.data_plane.settings import settings_to_run_a_model

LEVELS = (100, 1000, 10_000, 100_000)
PIPELINES = {
    "`OneHotEncoder`, `Ridge`": (OneHotEncoder(), Ridge(solver="lsqr")),
    "`OneHotEncoder`, `LogisticRegression`": (OneHotEncoder(), LogisticRegression(max_iter=20)),
    "`OneHotEncoder`, tree": (OneHotEncoder(), DecisionTreeRegressor(max_depth=5)),
    "`OrdinalEncoder`, tree": (OrdinalEncoder(), DecisionTreeRegressor(max_depth=5)),
    "`TargetEncoder`, `Ridge`": (TargetEncoder(random_state=0), Ridge()),
}
MIB = 1 << 20


def fitted(name: str, levels: int) -> tuple[Any, pd.DataFrame]:
    random = np.random.default_rng(0)
    words = np.array([f"{level:06d}" for level in range(levels)], dtype=object)
    rows = pd.DataFrame({"zip": np.concatenate([words, random.choice(words, 500)])})
    rows["n"] = random.normal(size=len(rows))
    encoder, last = PIPELINES[name]
    y = rows.n > 0 if isinstance(last, LogisticRegression) else rows.n * 2
    columns = ColumnTransformer([("e", encoder, ["zip"])], remainder="passthrough")
    return make_pipeline(columns, last).fit(rows, y), rows


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def measure(name: str, levels: int) -> str:
    """A line of the table, measured in a process of its own."""
    convert(fitted(name, 3)[0])
    model, rows = fitted(name, levels)
    highest, began = peak(), time.process_time()
    converted = convert(model)
    seconds, memory = time.process_time() - began, peak() - highest
    probe = samples.rows_of(converted.signature, rows.head(64).to_numpy(object).tolist())
    plane = _native.DataPlane(settings_to_run_a_model(str(runtime_library()), 64))
    before, contract = resident(), msgspec.json.encode(converted.signature)
    plane.models.load("measured", converted.onnx, contract, numbers_of(probe), strings_of(probe))
    loaded = resident() - before
    return f"| {name} | {levels} | {seconds:.1f} s | {memory / MIB:.0f} MiB | {loaded / MIB:.0f} MiB |"


def main() -> None:
    print("| pipeline | categories | conversion (CPU) | memory for it | loaded |\n|---|---|---|---|---|")
    for name in PIPELINES:
        for levels in LEVELS:
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                print(pool.apply(measure, (name, levels)), flush=True)


if __name__ == "__main__":
    main()
