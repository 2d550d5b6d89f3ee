"""Columns of timestamps: rows with RFC 3339 are answered as scikit-learn answers the frame that holds them."""

import warnings
from collections.abc import Callable
from datetime import date, timedelta, timezone
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer, make_column_selector, make_column_transformer
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestClassifier, RandomForestRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    KBinsDiscretizer,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
    TargetEncoder,
)

from serval.conversion.freeze import FreezeRequest, Frozen, freeze
from serval.conversion.from_sklearn import as_fitted
from serval.errors import InvalidFeatures, NotConvertible
from serval.models.samples import example_body
from serval.predictions.csv_rows import decode_csv, read_dialect
from support.in_process import InProcessSandbox
from support.served import Served

ROWS = 120
NUMBER = np.random.default_rng(0).normal(size=ROWS)
DAYS = pd.Series(pd.date_range("2024-05-05T10:00:00", periods=5).tolist() * (ROWS // 5))
Y = np.arange(ROWS) % 5 + NUMBER
IS_KEPT = pd.Series(np.arange(ROWS) % 7 != 0)


def objects(values: Any) -> pd.Series:
    return pd.Series(list(values), dtype=object)


MIDNIGHTS = objects(date(2024, 5, 5) + timedelta(days=row % 5) for row in range(ROWS))
ZONE = timezone(timedelta(hours=3))
COLUMNS: dict[str, pd.Series] = {
    "microseconds": DAYS,
    "nanoseconds": DAYS.astype("datetime64[ns]"),
    "milliseconds": DAYS.astype("datetime64[ms]"),
    "seconds": DAYS.astype("datetime64[s]"),
    "with NaT": DAYS.where(IS_KEPT),
    "of a zone": DAYS.dt.tz_localize("Europe/Berlin"),
    "of a zone, nanoseconds": DAYS.dt.tz_localize("Europe/Berlin").astype("datetime64[ns, Europe/Berlin]"),
    "of a zone, with NaT": DAYS.dt.tz_localize("America/Lima").where(IS_KEPT),
    "of a category": DAYS.astype("category"),
    "pandas objects": DAYS.astype(object),
    "Python objects": objects(moment.to_pydatetime() for moment in DAYS),
    "Python objects of a zone": objects(moment.to_pydatetime().replace(tzinfo=ZONE) for moment in DAYS),
    "dates": MIDNIGHTS,
    "dates with None": objects(day if kept else None for day, kept in zip(MIDNIGHTS, IS_KEPT, strict=True)),
    "dates with NaN": objects(day if kept else np.nan for day, kept in zip(MIDNIGHTS, IS_KEPT, strict=True)),
    "single microseconds": DAYS + pd.Timedelta("1us"),
    "long ago and far ahead": pd.Series(
        [pd.Timestamp("0001-01-01"), pd.Timestamp("1900-02-28T12:00:01"), pd.Timestamp("9999-12-31")] * (ROWS // 3)
    ),
}
DTYPES = [
    "datetime64[us]",
    "datetime64[ns]",
    "datetime64[ms]",
    "datetime64[s]",
    "datetime64[us]",
    "datetime64[us, UTC]",
    "datetime64[ns, UTC]",
    "datetime64[us, UTC]",
    "datetime64[us]",
    "Timestamp",
    "datetime",
    "datetime, UTC",
    "date",
    "date",
    "date",
    "datetime64[us]",
    "datetime64[us]",
]


Row = dict[str, Any]


def written(cell: Any) -> Any:
    """A cell as JSON has it."""
    if not isinstance(cell, str) and pd.isna(cell):
        return None
    return cell.isoformat() if isinstance(cell, date) else cell


def records(frame: pd.DataFrame) -> list[Row]:
    """The rows of a frame as JSON has them."""
    columns = [[written(cell) for cell in cells] for cells in frame.to_dict("list").values()]
    return [dict(zip(frame.columns, row, strict=True)) for row in zip(*columns, strict=True)]


def framed(when: pd.Series) -> pd.DataFrame:
    return pd.DataFrame({"when": when, "n": NUMBER})


def fitted(model: Any, frame: pd.DataFrame, y: Any = Y) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.fit(frame, y)


def assert_answers_alike(model: Any, frame: pd.DataFrame, *others: pd.DataFrame) -> Served:
    served = Served(fitted(model, frame))
    for rows in (frame, *others):
        np.testing.assert_allclose(served.answer(records(rows)), model.predict(rows), rtol=1e-6)
    return served


def lenient(*columns: str) -> Any:
    """Encoders that take what they have not seen."""
    chosen = list(columns)
    return make_pipeline(
        ColumnTransformer(
            [
                ("one hot", OneHotEncoder(handle_unknown="infrequent_if_exist", max_categories=3), chosen),
                ("target", TargetEncoder(random_state=0), chosen),
            ],
            remainder="passthrough",
        ),
        Ridge(),
    )


def strict() -> Any:
    return make_pipeline(make_column_transformer((OneHotEncoder(), ["when"]), remainder="passthrough"), Ridge())


def of_dtype(column: pd.Series, cells: list[Any]) -> pd.Series:
    dtype = column.dtype.categories.dtype if isinstance(column.dtype, pd.CategoricalDtype) else column.dtype
    return pd.Series(cells, dtype=object).astype(dtype)


def unknown(column: pd.Series) -> Any:
    known = column.dropna().iloc[0]
    return known + timedelta(days=-30 if known.year > 9000 else 30)


def missing(column: pd.Series) -> Any:
    """The missing value that the column holds, or NaT."""
    return [*column[column.isna()].tolist(), pd.NaT][0]


def with_one_other(frame: pd.DataFrame, other: Callable[[pd.Series], Any]) -> pd.DataFrame:
    """The first rows of a frame, each with one cell replaced, in another column each; last a row with all replaced."""
    count = len(frame.columns)
    return pd.DataFrame(
        {
            name: of_dtype(
                column,
                [other(column) if row in {place, count} else column.iloc[row] for row in range(count + 1)],
            )
            for place, (name, column) in enumerate(frame.items())
        }
    )


def test_encoders_that_take_unknown_values() -> None:
    frame = pd.DataFrame(COLUMNS)
    served = assert_answers_alike(
        lenient(*COLUMNS), frame, with_one_other(frame, unknown), with_one_other(frame, missing)
    )
    assert {column.kind for column in served.signature.columns} == {"timestamp"}
    assert [column.dtype for column in served.signature.columns] == DTYPES


@pytest.mark.parametrize("name", ["nanoseconds", "of a zone, with NaT", "dates with None", "Python objects", "seconds"])
def test_encoders_that_refuse_unknown_values(name: str) -> None:
    frame = framed(COLUMNS[name])
    served = assert_answers_alike(strict(), frame)
    assert (served.signature.columns[0].missing is None) == frame["when"].notna().all()
    with pytest.raises(InvalidFeatures, match="when: the model was never shown"):
        served.answer([{"when": written(unknown(frame["when"])), "n": 0.5}])


def when(*columns: str) -> Any:
    return (OneHotEncoder(handle_unknown="ignore"), list(columns))


TWO = framed(DAYS).assign(until=DAYS + pd.Timedelta("36h"), plan=np.where(NUMBER > 0, "a", "b"), is_new=NUMBER > 1)
VARIATIONS: dict[str, tuple[Any, pd.DataFrame]] = {
    "two columns and a string": (make_column_transformer(when("when", "until", "plan"), remainder="passthrough"), TWO),
    "by position": (
        ColumnTransformer([("o", OrdinalEncoder(), [0, 2, 3])], remainder=StandardScaler()),
        TWO,
    ),
    "by dtype": (
        make_column_transformer(
            (OrdinalEncoder(), make_column_selector(dtype_include="datetime")),
            (OneHotEncoder(), make_column_selector(dtype_include=object)),
            remainder="passthrough",
        ),
        TWO.astype({"plan": object}),
    ),
    "dropped beside one that is read": (
        ColumnTransformer([("d", "drop", ["until", "plan"]), ("o", *when("when"))], remainder="passthrough"),
        TWO,
    ),
    "behind a selection": (
        make_pipeline(
            ColumnTransformer([("p", "passthrough", ["n", "when"])], verbose_feature_names_out=False).set_output(
                transform="pandas"
            ),
            make_column_transformer(when("when"), remainder="passthrough"),
        ),
        TWO,
    ),
    "scaled and encoded": (
        make_column_transformer(when("when"), (StandardScaler(), ["when"]), ("passthrough", ["n"])),
        TWO,
    ),
    "by quantiles, nanoseconds": (
        make_column_transformer(when("when"), (QuantileTransformer(n_quantiles=4), ["when"])),
        framed(DAYS.astype("datetime64[ns]")),
    ),
    "by bins, seconds": (
        make_column_transformer(when("when"), (KBinsDiscretizer(3, encode="ordinal"), ["when"])),
        framed(DAYS.astype("datetime64[s]")),
    ),
    "in bins": (make_column_transformer(when("when"), (KBinsDiscretizer(3), ["when"])), framed(DAYS)),
    "alone": (OneHotEncoder(handle_unknown="ignore"), TWO[["when"]]),
}


@pytest.mark.parametrize("name", VARIATIONS)
def test_where_pipelines_read_them(name: str) -> None:
    transformer, frame = VARIATIONS[name]
    model = fitted(make_pipeline(transformer, Ridge()), frame)
    served = Served(model)
    np.testing.assert_allclose(served.answer(records(frame)), model.predict(frame), rtol=1e-6)


def test_a_search_and_a_forest() -> None:
    frame, y = framed(DAYS), pd.Series(Y > 2).map({True: "late", False: "early"})
    steps = make_pipeline(make_column_transformer(when("when"), remainder="passthrough"), RandomForestClassifier(5))
    model = fitted(GridSearchCV(steps, {"randomforestclassifier__max_depth": [2, 3]}, cv=2), frame, y)
    assert Served(model).answer(records(frame)).tolist() == model.predict(frame).tolist()


def test_boosting_with_categories_of_timestamps() -> None:
    frame = framed(DAYS.astype("category"))
    boosting = HistGradientBoostingRegressor(max_iter=5, min_samples_leaf=5, categorical_features="from_dtype")
    assert_answers_alike(boosting, frame)


@pytest.mark.parametrize("unit", ["D", "h", "us"])
def test_an_array_of_timestamps(unit: str) -> None:
    table = DAYS.to_numpy().astype(f"datetime64[{unit}]").reshape(-1, 1)
    model = make_pipeline(OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1), Ridge()).fit(table, Y)
    rows = [[f"{cell.astype('datetime64[s]')}Z"] for cell in table[:, 0]]
    np.testing.assert_allclose(Served(model).answer(rows), model.predict(table), rtol=1e-9)


def test_an_array_of_objects() -> None:
    table = framed(DAYS).assign(plan="a").astype(object).to_numpy()
    model = make_pipeline(make_column_transformer((OneHotEncoder(), [0, 2]), remainder="passthrough"), Ridge())
    served = Served(model.fit(table, Y))
    np.testing.assert_allclose(
        served.answer([[when.isoformat(), n, plan] for when, n, plan in table.tolist()]),
        model.predict(table),
        rtol=1e-9,
    )


@pytest.fixture(scope="module")
def served() -> Served:
    return Served(fitted(strict(), framed(DAYS)))


def test_one_moment_in_every_notation_is_one_row(served: Served) -> None:
    texts = ["2024-05-05T10:00:00Z", "2024-05-05 10:00:00", "2024-05-05T12:00:00.000+02:00"]
    answers = served.answer([{"when": text, "n": 1.0} for text in texts])
    assert len(set(answers.tolist())) == 1


def test_csv() -> None:
    frame = framed(COLUMNS["of a zone, with NaT"])
    served = Served(fitted(lenient("when"), frame))
    decoded = decode_csv(frame.to_csv(index=False).encode(), served.signature, dialect=read_dialect({}), max_rows=ROWS)
    np.testing.assert_allclose(
        served.predict_decoded(decoded), fitted(lenient("when"), frame).predict(frame), rtol=1e-6
    )


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("05/05/2024", r'expected a timestamp \(RFC 3339\) such as "2024-05-05T10:00:00Z", got "05/05/2024"'),
        (1_714_903_200.0, "expected a timestamp .*, got 1714903200"),
        (True, "expected a timestamp .*, got true"),
        (None, "is missing, and the model takes no missing values in this column"),
        ("2024-05-04", 'the model was never shown "2024-05-04T00:00:00Z"; it knows "2024-05-05T10:00:00Z", '),
    ],
)
def test_what_a_row_may_not_hold(served: Served, cell: Any, reason: str) -> None:
    with pytest.raises(InvalidFeatures, match=rf"inputs\[0\].when: {reason}"):
        served.answer([{"when": cell, "n": 1.0}])


REFUSED = {
    "nanoseconds": (DAYS.astype("datetime64[ns]") + pd.Timedelta("1ns"), "round them"),
    "durations": (DAYS - DAYS.min(), r"\.dt\.total_seconds\(\)"),
    "periods": (DAYS.dt.to_period("D"), r"a `Period` .* `\.astype\(str\)`"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_moments_that_no_request_can_express(name: str) -> None:
    column, advice = REFUSED[name]
    with pytest.raises(NotConvertible, match=rf"column `when`.*({advice})"):
        Served(fitted(strict(), framed(column)))


@pytest.mark.parametrize(
    "column",
    [
        (DAYS.astype("datetime64[ns]") + pd.Timedelta("1ns")).dt.floor("s"),
        (DAYS - DAYS.min()).dt.total_seconds(),
        DAYS.dt.to_period("D").astype(str),
    ],
    ids=["nanoseconds", "durations", "periods"],
)
def test_what_the_refusals_advise_helps(column: pd.Series) -> None:
    frame = framed(column)
    model = fitted(strict(), frame)
    np.testing.assert_allclose(Served(model).answer(records(frame)), model.predict(frame), rtol=1e-9)


async def frozen(model: Any, path: Path, **request: Any) -> Frozen:
    async def stage(_: str) -> None: ...

    joblib.dump(model, path)
    return await freeze(InProcessSandbox(), path, FreezeRequest(**request), stage)


@pytest.mark.anyio
async def test_a_sample_and_the_example_hold_text(tmp_path: Path) -> None:
    frame = framed(DAYS)
    model = fitted(strict(), frame)
    made = await frozen(model, tmp_path / "model.joblib", sample=records(frame.head(3)))
    assert made.report.agreement == 1.0
    body = example_body(made.signature, made.numbers, made.strings)
    assert body["input"]["when"] == "2024-05-05T10:00:00Z"
    with pytest.raises(InvalidFeatures, match="Row 1 of the sample, `when`: expected a timestamp"):
        await frozen(model, tmp_path / "model.joblib", sample=[{"when": "Sunday", "n": 1.0}])


@pytest.mark.anyio
async def test_a_csv_sample_holds_text(tmp_path: Path) -> None:
    sample = [{"when": "2024-05-05T10:00:00Z", "n": "1.5"}, {"when": "", "n": "2"}]
    made = await frozen(fitted(lenient("when"), framed(DAYS)), tmp_path / "model.joblib", sample=sample, is_text=True)
    assert made.signature.columns[0].kind == "timestamp"


SPREAD = framed(pd.Series(pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(ROWS) ** 2 * 977, unit="s")))
COUNTED: dict[str, tuple[Any, pd.DataFrame]] = {
    "scaled": (make_column_transformer((StandardScaler(), ["when"]), remainder="passthrough"), SPREAD),
    "filled, in seconds": (
        make_column_transformer((SimpleImputer(strategy="median"), ["when"]), remainder=StandardScaler()),
        SPREAD.astype({"when": "datetime64[s]"}),
    ),
    "in quantiles, nanoseconds": (
        make_column_transformer((QuantileTransformer(n_quantiles=20), ["when"]), remainder="passthrough"),
        SPREAD.astype({"when": "datetime64[ns]"}),
    ),
    "in bins": (make_column_transformer((KBinsDiscretizer(4), ["when"]), remainder="passthrough"), SPREAD),
    "of a zone": (
        make_column_transformer((MinMaxScaler(), ["when"]), remainder="passthrough"),
        SPREAD.assign(when=SPREAD["when"].dt.tz_localize("UTC")),
    ),
    "by dtype": (
        make_column_transformer((RobustScaler(), make_column_selector(dtype_include=[np.datetime64]))),
        SPREAD.astype({"when": "datetime64[ms]"}),
    ),
    "of a forest": (RandomForestRegressor(3, max_depth=3, random_state=0), SPREAD[["when"]]),
    "of neighbours": (KNeighborsRegressor(3), SPREAD[["when"]]),
    "of boosting": (HistGradientBoostingRegressor(max_iter=5, min_samples_leaf=5), SPREAD[["when"]]),
}
SHOWN_BY_THE_MODEL = {"in bins", "by dtype"}


@pytest.mark.parametrize("name", COUNTED)
def test_numeric_steps_count_what_the_sample_shows_to_be_timestamps(name: str) -> None:
    transformer, frame = COUNTED[name]
    model = fitted(make_pipeline(transformer, Ridge()) if hasattr(transformer, "transform") else transformer, frame)
    sample = [] if name in SHOWN_BY_THE_MODEL else records(frame.head(9))
    served = Served(model, sample=sample)
    unit = np.datetime_data(frame["when"].dt.tz_localize(None).dtype)[0]
    column = served.signature.columns[0]
    assert (column.kind, column.dtype) == ("timestamp", f"datetime64[{unit}]")
    np.testing.assert_allclose(served.answer(records(frame)), model.predict(frame), rtol=1e-6)


def test_timestamps_of_an_unknown_unit_are_refused_with_the_column_and_a_way_out() -> None:
    model = make_pipeline(make_column_transformer((PowerTransformer(), ["when"]), remainder="passthrough"), Ridge())
    with pytest.raises(NotConvertible, match=r"timestamps in column `when`.*\.dt\.total_seconds\(\)"):
        Served(fitted(model, SPREAD), sample=records(SPREAD.head(3)))
    advised = SPREAD.assign(when=(SPREAD["when"] - pd.Timestamp("2024-01-01")).dt.total_seconds())
    np.testing.assert_allclose(
        Served(fitted(model, advised)).answer(records(advised)), model.predict(advised), rtol=1e-6
    )


def test_numbers_stay_numbers_without_a_sign_of_timestamps() -> None:
    frame = SPREAD.assign(when=SPREAD["when"].astype("int64"))
    assert (
        Served(fitted(make_pipeline(COUNTED["scaled"][0], Ridge()), frame), sample=records(frame.head(3)))
        .signature.columns[0]
        .kind
        == "number"
    )


def test_a_table_of_text_is_as_the_model_was_fitted() -> None:
    frame = framed(COLUMNS["dates with None"])
    model = fitted(lenient("when"), frame)
    text = frame.assign(when=[written(cell) for cell in frame["when"]], n=NUMBER)
    np.testing.assert_array_equal(model.predict(as_fitted(model, text)), model.predict(frame))
