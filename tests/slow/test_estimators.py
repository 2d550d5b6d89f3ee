"""Every scikit-learn estimator and random pipelines over HTTP: no live version answers wrongly."""

import json
import pickle
import re
import warnings
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import count, islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from support.estimators import NAMES, Case, Rows, margins, pipeline, plain, probabilities, steps_of
from support.http_client import Client, serving

pytestmark = pytest.mark.slow

PIPELINES = 100
FIRST_SEED = 5000
MOST_REFUSED = 0.05
PAGE = Path(__file__).parents[2] / "docs" / "formats.md"
TABLE = re.compile(r"(<!-- measured: estimators -->\n).*?(<!-- end -->)", re.DOTALL)
ADVICE = re.compile(r"\b(use|fit|scale|send|compute|encode|drop|flatten|calibrate|ask|give)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Outcome:
    """What became of an upload. `precision`: of the graph; `problem`: why it was refused, or what it answered
    wrongly."""

    name: str
    title: str
    is_live: bool
    precision: str = ""
    problem: str = ""

    @property
    def is_refused(self) -> bool:
        return not self.is_live


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    settings = {"SERVAL_CONVERT_PARALLEL": "2"}
    with serving(tmp_path_factory.mktemp("serval") / "data", settings) as client:
        yield client


@pytest.fixture(scope="module")
def alone(served: Client) -> list[Outcome]:
    return uploaded(served, ((name, plain(name)) for name in NAMES))


@pytest.fixture(scope="module")
def piped(served: Client) -> list[Outcome]:
    return uploaded(served, islice(fitting_pipelines(), PIPELINES))


def fitting_pipelines() -> Iterator[tuple[str, Case]]:
    """Random pipelines; one whose estimator cannot be fitted on its data is drawn again."""
    for seed in count(FIRST_SEED):
        try:
            yield f"seed {seed}", pipeline(seed)
        except np.linalg.LinAlgError:
            continue


def uploaded(client: Client, cases: Iterator[tuple[str, Case]]) -> list[Outcome]:
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(lambda named: outcome(client, *named), list(cases)))


def outcome(client: Client, label: str, case: Case) -> Outcome:
    """Upload a case, ask it about the rows it was not fitted on, and compare."""
    title = f"{label}: {steps_of(case.model)}"
    sample = {"sample": case.X[:20].to_json(orient="records")} if isinstance(case.X, pd.DataFrame) else {}
    model = re.sub(r"[^a-z0-9]+", "-", label.lower())
    answer = client.upload(model, pickle.dumps(case.model), **sample)
    version = answer.json()
    if answer.status_code != 201 or not version["is_live"]:
        return Outcome(case.name, title, is_live=False, problem=version.get("detail", answer.text))
    problem = answered_wrongly(client, model, case, has_probabilities=version["signature"]["has_probabilities"])
    return Outcome(case.name, title, is_live=True, precision=version["report"]["form"], problem=problem)


def answered_wrongly(client: Client, model: str, case: Case, *, has_probabilities: bool) -> str:
    """What is wrong with the answers for unseen rows; a few that lie outside the signature's range may be refused,
    which is no answer."""
    refused: set[int] = set()
    while len(refused) <= MOST_REFUSED * len(case.held_out):
        kept = np.setdiff1d(np.arange(len(case.held_out)), list(refused))
        rows = case.held_out.iloc[kept] if isinstance(case.held_out, pd.DataFrame) else case.held_out[kept]
        asked = {"outputs": "probabilities"} if has_probabilities else {}
        told = client.predict(model, {"inputs": rows_of(rows)}, **asked)
        if told.status_code == 200:
            return disagreement(replace(case, held_out=rows), told.json())
        if told.json()["code"] != "invalid_features":
            return f"it fails: {told.text[:300]}"
        refused |= {int(kept[int(re.findall(r"\d+", error["path"])[0])]) for error in told.json()["errors"]}
    return f"it refuses {len(refused)} of {len(case.held_out)} rows"


def rows_of(rows: Rows) -> list[Any]:
    if isinstance(rows, pd.DataFrame):
        return list(json.loads(rows.to_json(orient="records", double_precision=15)))
    return [[None if np.isnan(cell) else cell for cell in row] for row in rows.tolist()]


def disagreement(case: Case, told: dict[str, Any]) -> str:
    """What differs from the original beyond rounding; empty where nothing does."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = np.asarray(case.model.predict(case.held_out))
        if not case.is_classifier:
            return values_differ(np.array(told["predictions"], dtype=np.float64), expected)
        chances = probabilities(case.model, case.held_out)
        margin = margins(case.model, case.held_out, chances)
    differs = np.array([given != label for given, label in zip(told["predictions"], expected.tolist(), strict=True)])
    if (differs & (margin > 1e-9)).any():
        return f"{int(differs.sum())} of {len(expected)} labels differ"
    if chances is None:
        return ""
    found = [np.concatenate(row) if isinstance(row[0], list) else row for row in told["probabilities"]]
    largest = float(np.abs(np.array(found, dtype=np.float64) - chances).max())
    return "" if largest <= 1e-5 else f"probabilities are off by {largest:.2g}"


def values_differ(found: np.ndarray, expected: np.ndarray) -> str:
    """Within 1e-5 of each value; one below a thousandth of the median counts as that."""
    size = np.maximum(np.abs(expected), np.nanmedian(np.abs(expected)) / 1000)
    both_missing = np.isnan(found) & np.isnan(expected)
    largest = float(np.max(np.where(both_missing, 0.0, np.abs(found - expected) / np.maximum(size, 1e-300))))
    return "" if largest <= 1e-5 else f"values are off by {largest:.2g} of their size"


def wrong(outcomes: list[Outcome]) -> list[Outcome]:
    return [each for each in outcomes if each.is_live and each.problem]


def unexplained(outcomes: list[Outcome]) -> list[Outcome]:
    """Refusals that name no estimator of the upload, or do not say what to do."""
    refused = [each for each in outcomes if each.is_refused]
    return [
        each
        for each in refused
        if not (named_in(each.title) & named_in(each.problem)) or not ADVICE.search(each.problem)
    ]


def named_in(text: str) -> set[str]:
    return set(re.findall(r"\b[A-Z][A-Za-z]+\b", text))


def test_no_estimator_is_live_and_wrong(alone: list[Outcome]) -> None:
    assert wrong(alone) == []


def test_no_random_pipeline_is_live_and_wrong(piped: list[Outcome]) -> None:
    assert wrong(piped) == []


def test_nearly_every_estimator_goes_live(alone: list[Outcome]) -> None:
    assert sum(each.is_live for each in alone) >= 0.95 * len(NAMES), [each for each in alone if each.is_refused]


def test_most_random_pipelines_go_live(piped: list[Outcome]) -> None:
    assert sum(each.is_live for each in piped) >= 0.9 * PIPELINES, [each for each in piped if each.is_refused]


def test_each_refusal_names_the_estimator_and_says_what_to_do(alone: list[Outcome], piped: list[Outcome]) -> None:
    assert unexplained([*alone, *piped]) == []


def test_the_page_of_formats_lists_what_was_measured(alone: list[Outcome], piped: list[Outcome]) -> None:
    page = PAGE.read_text()
    PAGE.write_text(TABLE.sub(lambda block: block[1] + table(alone, piped) + block[2], page))
    assert all(f"| `{name}` |" in PAGE.read_text() for name in NAMES)


def table(alone: list[Outcome], piped: list[Outcome]) -> str:
    """A Markdown table of all estimators: what becomes of them alone, and behind preprocessing."""
    tried, live = Counter(each.name for each in piped), Counter(each.name for each in piped if each.is_live)
    lines = ["| estimator | alone | computed in | behind random preprocessing |", "|---|---|---|---|"]
    for each in alone:
        behind = f"{live[each.name]} of {tried[each.name]} live" if tried[each.name] else ""
        lines.append(f"| `{each.name}` | {'live' if each.is_live else 'refused'} | {each.precision} | {behind} |")
    total = sum(each.is_live for each in alone), sum(each.is_live for each in piped)
    figures = f"{total[0]} of {len(alone)} alone, {total[1]} of {len(piped)} behind random preprocessing"
    lines += ["", f"Live: {figures}; none of them answered wrongly."]
    return "\n".join(lines) + "\n"
