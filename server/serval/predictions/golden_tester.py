"""Tests of a version with its golden requests."""

import msgspec

from serval.auth.caller import Caller
from serval.models.golden_requests import GoldenRequests, has_golden
from serval.models.tables import Version
from serval.predictions.charges import Charges
from serval.predictions.graph_answers import EncodedAnswer, uncached_headers
from serval.predictions.request import PredictionRequest


class GoldenTester:
    """Asks golden requests; charged like one prediction."""

    def __init__(self, golden: GoldenRequests, charges: Charges) -> None:
        self._golden = golden
        self._charges = charges

    async def ask(self, request: PredictionRequest, caller: Caller, version: Version) -> EncodedAnswer | None:
        """Ask the golden requests of a ready version, and return the GoldenResult; None: it has none. Raises
        RateLimited, Quarantined, Unavailable."""
        if not has_golden(version):
            return None
        with self._charges.charged(caller) as headers:
            result = await self._golden.ask(version)
        return EncodedAnswer(msgspec.json.encode(result), uncached_headers(version, request.started_ns) | headers)
