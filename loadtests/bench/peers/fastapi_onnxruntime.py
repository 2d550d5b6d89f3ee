"""FastAPI with ONNX Runtime."""

from fastapi import FastAPI
from onnx_model import Model
from pydantic import BaseModel

app = FastAPI()
model = Model()


class Asked(BaseModel):
    features: list[float]


class Answer(BaseModel):
    prediction: int
    probability: float


@app.post("/predict")
async def predict(asked: Asked) -> Answer:
    return Answer(**model.predict(asked.features))
