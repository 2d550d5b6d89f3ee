"""LitServe with ONNX Runtime: `litserve_onnxruntime.py PORT`."""

import sys

from litserve import LitAPI, LitServer
from onnx_model import Model


class Iris(LitAPI):
    def setup(self, device: str) -> None:  # noqa: ARG002 LitServe's signature
        self.model = Model()

    def decode_request(self, request: dict) -> list[float]:
        return request["features"]

    def predict(self, x: list[float]) -> dict[str, float]:
        return self.model.predict(x)

    def encode_response(self, output: dict[str, float]) -> dict[str, float]:
        return output


if __name__ == "__main__":
    LitServer(Iris(), accelerator="cpu").run(
        port=int(sys.argv[1]), host="127.0.0.1", generate_client_file=False, log_level="warning"
    )
