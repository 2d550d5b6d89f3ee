"""What somebody does with the client in an environment of their own: run there, with nothing else of the tests."""

import asyncio
import json
import sys
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import sklearn
from sklearn.compose import make_column_transformer
from sklearn.ensemble import GradientBoostingClassifier, RandomForestRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC

import serval_client as serval

ROWS = 200


def table() -> pd.DataFrame:
    random = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "age": np.where(random.random(ROWS) < 0.1, np.nan, random.integers(18, 90, ROWS)),
            "income": random.lognormal(10, 1, ROWS),
            "plan": pd.Categorical(random.choice(["basic", "plus", "pro"], ROWS)),
            "active": random.random(ROWS) < 0.5,
        }
    )


def pipeline(estimator):
    steps = make_column_transformer(
        (make_pipeline(SimpleImputer(), StandardScaler()), ["age", "income"]),
        (OneHotEncoder(handle_unknown="ignore"), ["plan"]),
        ("passthrough", ["active"]),
    )
    return make_pipeline(steps, estimator)


async def awaited(name: str, frame: pd.DataFrame) -> list:
    async with serval.AsyncClient() as client:
        return list(await client.predict(name, frame))


def main(name: str, folder: Path) -> None:
    frame = table()
    labels = np.where(frame["income"] > frame["income"].median(), "buys", "leaves")
    with serval.Client() as client:
        for estimator in (LogisticRegression(), GradientBoostingClassifier(n_estimators=10), SVC()):
            model = pipeline(estimator).fit(frame, labels)
            version = client.models.push(model, name=name, sample=frame)
            assert version.is_live, version.held
            assert version.report["scikit_learn_saved_with"] == sklearn.__version__
            assert (version.report["expected_rows"], version.report["expected_agreement"]) == (ROWS, 1.0)
            answer = client.predict(name, frame, probabilities=hasattr(model, "predict_proba"))
            assert list(answer) == model.predict(frame).tolist()
            if answer.probabilities is not None:
                np.testing.assert_allclose(answer.probabilities, model.predict_proba(frame), atol=1e-9)
        assert asyncio.run(awaited(name, frame)) == list(answer)

        array = frame[["income"]].to_numpy()
        model = RandomForestRegressor(5).fit(array, np.arange(ROWS))
        joblib.dump(model, folder / "forest.joblib")
        assert client.models.push(folder / "forest.joblib", name=f"{name}-file", sample=array).is_live
        np.testing.assert_allclose(client.predict(f"{name}-file", array), model.predict(array), rtol=1e-6)

        refusals = []
        for call in (
            lambda: client.predict(name, frame[["age"]]),
            lambda: client.predict("no-such-model", frame),
            lambda: client.models.push({"a": 1}, name=f"{name}-dict"),
        ):
            try:
                call()
            except serval.RequestFailed as error:
                refusals.append(type(error).__name__)
    sys.stdout.write(json.dumps({"scikit_learn": sklearn.__version__, "refusals": refusals}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
