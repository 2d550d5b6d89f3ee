"""Ray Serve with ONNX Runtime: `ray_onnxruntime.py PORT`."""

import sys
import threading

import ray
from onnx_model import Model
from ray import serve
from starlette.requests import Request


@serve.deployment
class Iris:
    def __init__(self) -> None:
        self.model = Model()

    async def __call__(self, request: Request) -> dict[str, float]:
        return self.model.predict((await request.json())["features"])


if __name__ == "__main__":
    ray.init(include_dashboard=False, logging_level="warning")
    serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[1])})
    serve.run(Iris.bind(), route_prefix="/predict")
    threading.Event().wait()
