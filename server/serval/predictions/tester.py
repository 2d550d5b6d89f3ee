"""Tests of a version: the answers for rows of those who manage its model, whether it is held or not."""

import asyncio

from serval.auth.caller import Caller
from serval.models.confined_runs import ConfinedRuns
from serval.models.tables import Version
from serval.predictions.charges import Charges
from serval.predictions.graph_answers import EncodedAnswer, encoded
from serval.predictions.request import PredictionRequest
from serval.predictions.service import PredictionService


class VersionTester:
    """Asks one version, past the cache; charged like a prediction."""

    def __init__(self, predictions: PredictionService, runs: ConfinedRuns, charges: Charges) -> None:
        self._predictions = predictions
        self._runs = runs
        self._charges = charges

    async def ask(self, request: PredictionRequest, caller: Caller, version: Version, body: bytes) -> EncodedAnswer:
        """Return the answer of a ready version for the rows of a body. Raises what a prediction raises, and what its
        confined run raises where it is held."""
        if not version.is_held:
            return EncodedAnswer.of(await self._predictions.answer(request, body))
        signature = version.parsed_signature
        rows = await self._predictions.decode(request, body, signature)
        with self._charges.charged(caller) as headers:
            answers = await self._runs.answers(version, rows.rows, rows.numbers, rows.strings)
        answer = await asyncio.to_thread(encoded, version, signature, answers, request.started_ns, is_list=rows.is_list)
        return EncodedAnswer(answer.body, answer.headers | headers)
