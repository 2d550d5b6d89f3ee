"""Names, labels and categories of any text, and what is printed of them."""

# ruff: noqa: RUF001 letters of other scripts look like Latin ones

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder

from serval.conversion.export.original import answers_of
from serval.conversion.from_sklearn import convert
from serval.conversion.plain_text import escaped
from serval.conversion.rows import Rows
from serval.conversion.signature_check import check_signature
from serval.conversion.verify import onnxruntime_engine
from serval.errors import NotConvertible

TEXTS = [
    "می\u200cخواهم",
    "👩\u200d💻",
    "क्\u200dष",
    "line\nbreak",
    "tab\there",
    "\x1b[31mred",
    "\u202etfel",
    "x" * 300,
    "y" * 10_000,
    "soft\u00adhyphen",
    " ",
    "",
]


def answers(model: Any, strings: list[str]) -> tuple[Any, Any]:
    """The original's values and the graph's."""
    converted = convert(model)
    check_signature(converted.signature)
    rows = Rows(np.zeros((len(strings), 0)), np.array(strings, dtype=object)[:, None])
    original = answers_of(model, converted.signature, rows)
    return original.scores, onnxruntime_engine.run(converted.onnx, converted.signature, rows).scores


@pytest.mark.parametrize("encoder", [OneHotEncoder(), OrdinalEncoder()], ids=["one-hot", "ordinal"])
def test_categories_may_be_any_text(encoder: Any) -> None:
    table = pd.DataFrame({"c": TEXTS * 5})
    original, converted = answers(make_pipeline(encoder, Ridge()).fit(table, np.arange(len(table)) % 7), TEXTS)
    np.testing.assert_allclose(converted, original, rtol=1e-9)


@pytest.mark.parametrize("text", TEXTS[:-1], ids=range(len(TEXTS) - 1))
def test_labels_and_names_of_columns_may_be_any_text(text: str) -> None:
    table = pd.DataFrame({text: np.arange(20.0), "k": 1.0})
    labels = np.where(np.arange(20) > 9, text, "other")
    signature = convert(LogisticRegression().fit(table, labels)).signature
    check_signature(signature)
    assert signature.columns[0].name == text
    assert text in signature.labels[0]


@pytest.mark.parametrize(
    ("value", "problem"),
    [("z" * 10_001, "has 10001 characters; the limit is 10000"), ("a\x1a", "U+001A"), ("a\0b", "U+0000")],
    ids=["long", "marker", "null"],
)
def test_a_text_that_cannot_be_served_is_named_with_its_column_and_the_reason(value: str, problem: str) -> None:
    table = pd.DataFrame({"city": [value, "b"] * 10})
    with pytest.raises(NotConvertible, match="`city`") as refused:
        convert(make_pipeline(OneHotEncoder(), Ridge()).fit(table, np.arange(20)))
    assert problem in refused.value.message
    named = pd.DataFrame({value: np.arange(20.0)})
    with pytest.raises(NotConvertible, match="The name of the column") as refused:
        convert(LinearRegression().fit(named, np.arange(20)))
    assert problem in refused.value.message


def test_an_empty_name_of_a_column_is_refused() -> None:
    with pytest.raises(NotConvertible, match="Column 2 has an empty name"):
        convert(LinearRegression().fit(pd.DataFrame({"a": np.arange(9.0), "": 1.0}), np.arange(9)))


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (pd.cut(np.arange(20), [-1, 5, 20]), "Interval"),
        (pd.period_range("2024-01", periods=20, freq="M"), "Period"),
        (pd.to_timedelta(np.arange(20), unit="s"), "timedelta64"),
    ],
    ids=["interval", "period", "duration"],
)
def test_categories_that_json_cannot_express_are_refused_with_their_column(values: Any, kind: str) -> None:
    series = pd.Series(values)
    table = pd.DataFrame({"when": series.astype(object) if series.dtype == "category" else series})
    with pytest.raises(NotConvertible, match="`when`") as refused:
        convert(make_pipeline(OrdinalEncoder(), Ridge()).fit(table, np.arange(20)))
    assert kind in refused.value.message
    advised = table.assign(when=table.when.astype(str))
    assert convert(make_pipeline(OrdinalEncoder(), Ridge()).fit(advised, np.arange(20)))


def test_what_would_steer_a_terminal_is_escaped() -> None:
    assert escaped("a\x1b[31m\u202eb\nc") == r"a\x1b[31m\u202eb\nc"
    assert escaped("می\u200cخواهم é 👩\u200d💻") == "می\u200cخواهم é 👩\u200d💻"
