"""BentoML with ONNX Runtime."""

import bentoml


@bentoml.service
class Iris:
    def __init__(self) -> None:
        from onnx_model import Model

        self.model = Model()

    @bentoml.api
    def predict(self, features: list[float]) -> dict[str, float]:
        return self.model.predict(features)
