"""FastAPI with a scikit-learn pickle."""

import joblib
from fastapi import FastAPI
from onnx_model import FOLDER
from pydantic import BaseModel

app = FastAPI()
model = joblib.load(FOLDER / "iris.joblib")


class Asked(BaseModel):
    features: list[float]


class Answer(BaseModel):
    prediction: int
    probability: float


@app.post("/predict")
async def predict(asked: Asked) -> Answer:
    probabilities = model.predict_proba([asked.features])[0]
    return Answer(prediction=int(model.classes_[probabilities.argmax()]), probability=float(probabilities.max()))
