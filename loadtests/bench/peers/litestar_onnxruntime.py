"""A Litestar handler with ONNX Runtime, on Granian."""

from litestar import Litestar, post
from msgspec import Struct
from onnx_model import Model

model = Model()


class Asked(Struct):
    features: list[float]


@post("/predict", status_code=200)
async def predict(data: Asked) -> dict[str, float]:
    return model.predict(data.features)


app = Litestar([predict])
