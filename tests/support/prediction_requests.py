"""A question about the model `echo`."""

import time

from serval.auth.caller import HERE
from serval.predictions.service import Question
from support.registry import PRESENTED


def question() -> Question:
    return Question(
        caller=PRESENTED.digest,
        credential=PRESENTED,
        origin=HERE,
        shape="full",
        model="echo",
        version=None,
        alias=None,
        all_probabilities=False,
        no_cache=True,
        csv=None,
        started_ns=time.monotonic_ns(),
    )
