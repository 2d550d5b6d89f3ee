"""Performs the steps of the client's operations by outcomes that a test has chosen, without a server or a clock."""

from typing import Any

import httpx2

from serval_client.operations import Call, Lost, Pause, Steps, Work

REFUSED = Lost("http://host does not respond: Connection refused", is_sent=False, is_late=False)
BROKEN = Lost("http://host does not respond: Server disconnected", is_sent=True, is_late=False)
LATE = Lost("http://host does not respond: timed out", is_sent=True, is_late=True)


class Played:
    """Gives calls their outcomes, of which the last repeats, and keeps what was done."""

    def __init__(self, *outcomes: httpx2.Response | Lost) -> None:
        self._outcomes = list(outcomes)
        self.calls: list[Call] = []
        self.pauses: list[float] = []

    def run(self, steps: Steps[Any]) -> Any:
        outcome: Any = None
        while True:
            try:
                step = steps.send(outcome)
            except StopIteration as end:
                return end.value
            outcome = self._perform(step)

    def _perform(self, step: Call | Pause | Work) -> Any:
        if isinstance(step, Pause):
            return self.pauses.append(step.seconds)
        if isinstance(step, Work):
            return step.function()
        self.calls.append(step)
        return self._outcomes.pop(0) if len(self._outcomes) > 1 else self._outcomes[0]
