"""A request to the model `echo`."""

import time

from serval.auth.caller import HERE
from serval.predictions.request import PredictionRequest
from support.registry import PRESENTED


def prediction_request() -> PredictionRequest:
    return PredictionRequest(
        credential=PRESENTED, client=HERE, shape="full", model="echo", no_cache=True, started_ns=time.monotonic_ns()
    )
