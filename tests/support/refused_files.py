"""Files that are refused, by the kind of the refusal, and what to upload instead."""

import gzip
import io
import pickle
from typing import Any

import joblib
import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, LabelEncoder, MinMaxScaler, MultiLabelBinarizer, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from serval.conversion import messages, tasks
from serval.conversion.refusals import of_files
from serval.conversion.refusals.kind import Kind
from support.refusal_cases import NAMES, Case, Version, X, Y, again, code_in, evaluated, logistic

WHOLE = pickle.dumps(logistic())


def doubled(rows: Any) -> Any:
    return np.asarray(rows) * 2


def scored(model: Any, rows: Any, targets: Any) -> float:
    return float(model.score(rows, targets))


class Given:
    """Pickles as a call of a function with these arguments and this state."""

    def __init__(self, *call: Any) -> None:
        self.call = call

    def __reduce__(self) -> Any:
        return self.call


def of_a_script(model: Any) -> bytes:
    """Its pickle, as if the functions of this module were those of the script that saved it."""
    return pickle.dumps(model, protocol=0).replace(b"csupport.refused_files\n", b"c__main__\n")


def old_trees() -> bytes:
    tree = DecisionTreeClassifier(max_depth=2).fit(X, Y)
    make, arguments, state = tree.tree_.__reduce__()
    nodes = state["nodes"]
    kept = np.zeros(len(nodes), dtype=[(name, nodes.dtype[name]) for name in nodes.dtype.names if name != "impurity"])
    tree.tree_ = Given(make, arguments, state | {"nodes": kept})
    return pickle.dumps(tree)


def zipped(model: Any, **arguments: Any) -> bytes:
    file = io.BytesIO()
    joblib.dump(model, file, **arguments)
    return file.getvalue()


def skops_of_own_code() -> bytes:
    from skops.io import dumps

    content: bytes = dumps(make_pipeline(FunctionTransformer(doubled), logistic()).fit(X, Y))
    return content


def search() -> Any:
    return GridSearchCV(logistic(), {"C": [0.1, 1.0]}, scoring=scored, cv=2).fit(X, Y)


def with_scaler() -> dict[str, Any]:
    scaler = StandardScaler().fit(X)
    return {"model": logistic(scaler.transform(X)), "scaler": scaler}


def two_scalers() -> dict[str, Any]:
    return {"a": StandardScaler().fit(X), "b": MinMaxScaler().fit(X), "model": logistic()}


def side_by_side() -> dict[str, Any]:
    left, right = StandardScaler().fit(X[:, :2]), MinMaxScaler().fit(X[:, 2:])
    model = logistic(np.hstack([left.transform(X[:, :2]), right.transform(X[:, 2:])]))
    return {"left": left, "right": right, "model": model}


def stood_side_by_side(saved: Any, message: str) -> Any:
    line = code_in(message, "side = ").replace("[...]", "[0, 1]", 1).replace("[...]", "[2, 3]", 1)
    names = NAMES | {"saved": saved, "X": X}
    exec(line, names)
    return eval(code_in(message, "make_pipeline(side"), names)


def lines_run(saved: Any, message: str) -> Any:
    """What the lines of Python in a message save."""
    names, file = NAMES | {"saved": saved}, io.BytesIO()
    names["joblib"] = type("Dumping", (), {"dump": lambda model, _: joblib.dump(model, file), "load": lambda _: saved})
    spans = message.split("`")[1::2]
    start = next(index for index, span in enumerate(spans) if span.startswith("saved ="))
    exec(
        "\n".join(span for span in spans[start:] if " = " in span or span.startswith("joblib.dump")),
        names | {"path": ""},
    )
    return file.getvalue()


def joined(content: Any) -> bytes:
    request = messages.encode(messages.InspectRequest(1 << 30))
    return tasks.join(content if isinstance(content, bytes) else pickle.dumps(content), request)


def of_another_version() -> bytes:
    with Version("1.3.2"):
        return pickle.dumps(with_scaler())


def joined_with_that_version(*_: Any) -> bytes:
    saved = with_scaler()
    with Version("1.3.2"):
        return pickle.dumps(make_pipeline(saved["scaler"], saved["model"]))


ENCODERS = {"model": logistic(), "labels": LabelEncoder().fit(list("abc")), "rooms": LabelEncoder().fit(list("de"))}
ONE_COLUMN = {"model": LinearRegression().fit(X[:, :1], Y), "scaler": StandardScaler().fit(X[:, :1])}

CASES: list[tuple[Kind, Case]] = [
    (of_files.CUT_SHORT, Case(lambda: WHOLE[: len(WHOLE) // 4], again(lambda: WHOLE))),
    (of_files.DAMAGED_PICKLE, Case(lambda: b"\x80\x04" + b"\xff" * 99, again(lambda: WHOLE))),
    (of_files.OLD_TREES, Case(old_trees, again(lambda: DecisionTreeClassifier(max_depth=2).fit(X, Y)))),
    (of_files.CANNOT_LOAD, Case(lambda: Given(np.dtype, ("nonsense",)), again(logistic), "`numpy.dtype`")),
    (of_files.GONE_FROM_SKLEARN, Case(lambda: b"\x80\x04csklearn.tree.tree\nOldTree\n.", again(logistic), "OldTree`")),
    (of_files.OTHER_LIBRARY, Case(lambda: b"\x80\x04cxgboost.sklearn\nModel\n.", None, "`xgboost.sklearn.Model`")),
    (of_files.OTHER_LIBRARY_FILE, Case(lambda: b"CBM1" + bytes(8), None, "CatBoost")),
    (of_files.OTHER_FILE, Case(lambda: b"a,b\n1,2\n", again(logistic), "a CSV table")),
    (of_files.OTHER_FILE, Case(lambda: b"", again(logistic), "empty")),
    (
        of_files.OWN_SCORER,
        Case(lambda: of_a_script(search()), again(lambda: search().best_estimator_), "`scorer_` of `GridSearchCV`"),
    ),
    (
        of_files.OWN_CODE,
        Case(
            lambda: of_a_script(make_pipeline(FunctionTransformer(doubled), logistic()).fit(X, Y)),
            again(lambda: make_pipeline(FunctionTransformer(np.log1p), logistic()).fit(X, Y)),
            "(pipeline step 1, `functiontransformer`, `func` of `FunctionTransformer`)",
        ),
    ),
    (
        of_files.UNTRUSTED_TYPES,
        Case(
            skops_of_own_code,
            again(lambda: make_pipeline(FunctionTransformer(np.log1p), logistic()).fit(X, Y)),
            "`support.refused_files.doubled`",
        ),
    ),
    (of_files.TRAILING_BYTES, Case(lambda: WHOLE + b"\x80\x04\xffold", again(logistic), "a `LogisticRegression`")),
    (of_files.TOO_MANY_OBJECTS, Case(lambda: pickle.dumps(1) * 101, again(logistic))),
    (
        of_files.UNKNOWN_COMPRESSION,
        Case(lambda: b"\x28\xb5\x2f\xfd" + WHOLE, again(lambda: zipped(logistic(), compress=3)), "zstd"),
    ),
    (
        of_files.DAMAGED_COMPRESSION,
        Case(lambda: gzip.compress(WHOLE)[:-40], again(lambda: gzip.compress(WHOLE)), "gzip"),
    ),
    (
        of_files.UNPACKS_TO_TOO_MUCH,
        Case(
            lambda: gzip.compress(WHOLE + bytes(2 << 20)),
            lambda built, _: built,
            "1 MiB",
            request={"limit_bytes": 1 << 20},
            then={"limit_bytes": 4 << 20},
        ),
    ),
    (of_files.A_CLASS, Case(lambda: LogisticRegression, again(logistic), "`LogisticRegression`")),
    (of_files.NO_MODEL, Case(lambda: np.eye(3), again(logistic), "`ndarray`")),
    (of_files.NO_MODEL_AMONG, Case(lambda: {"weights": [1, 2]}, again(logistic), "`'weights'`")),
    (of_files.MODEL_AND_MORE, Case(lambda: {"model": logistic(), "version": 3}, lines_run, "`'model'`")),
    (of_files.MODEL_AND_STEPS, Case(with_scaler, lines_run, "`saved['scaler']`")),
    (of_files.NOTHING_TO_JOIN, Case(logistic, lambda built, _: built, "one object", ask=joined)),
    (of_files.JOIN_WITH_ITS_VERSION, Case(of_another_version, joined_with_that_version, "1.3.2", ask=joined)),
    (
        of_files.SEVERAL_MODELS,
        Case(lambda: [logistic(), logistic()], lambda built, _: built[0], "joblib.dump(saved[0], "),
    ),
    (
        of_files.SEVERAL_LABEL_ENCODERS,
        Case(lambda: ENCODERS, lambda built, _: joined({name: built[name] for name in ("model", "labels")})),
    ),
    (
        of_files.STEP_TWICE,
        Case(
            lambda: {
                "model": make_pipeline(StandardScaler(), logistic()).fit(X, Y),
                "scaler": StandardScaler().fit(X * 2),
            },
            lambda built, message: evaluated(message, "make_pipeline(", saved=built),
            "`saved['scaler']`",
        ),
    ),
    (
        of_files.MANY_TRANSFORMERS,
        Case(
            lambda: [*(StandardScaler().fit(X + index) for index in range(6)), logistic()],
            lambda built, _: make_pipeline(*built),
            "6 transformers",
        ),
    ),
    (
        of_files.FEATURE_OR_TARGET,
        Case(
            lambda: ONE_COLUMN,
            lambda built, message: evaluated(message, "make_pipeline(", saved=built),
            "`saved['scaler']`",
        ),
    ),
    (
        of_files.UNKNOWN_ORDER,
        Case(
            two_scalers,
            lambda built, message: evaluated(message, "make_pipeline(", saved=built),
            "`saved['a']` takes 4 columns and gives 4 columns",
        ),
    ),
    (of_files.SIDE_BY_SIDE, Case(side_by_side, stood_side_by_side, "`saved['left']` takes 2 columns")),
    (
        of_files.NO_CHAIN,
        Case(
            lambda: {"model": logistic(), "scaler": StandardScaler().fit(X[:, :2])},
            again(
                lambda: make_pipeline(
                    ColumnTransformer([("s", StandardScaler(), [0, 1])], remainder="passthrough"), logistic()
                ).fit(X, Y)
            ),
            "`saved['scaler']` takes 2 columns",
        ),
    ),
    (
        of_files.LABELS_APART,
        Case(
            lambda: {"model": logistic(), "labels": MultiLabelBinarizer().fit([["a"], ["b"]])},
            lambda built, _: built["model"],
            "`saved['labels']`",
        ),
    ),
]
