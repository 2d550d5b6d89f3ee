"""How often one may knock: requests of users and of addresses, charged to the one ledger of rates."""

from serval.auth.caller import Caller, ClientInfo, FindCaller
from serval.auth.credentials import Credential
from serval.auth.rate_headers import too_often
from serval.data_plane.plane import Callers, Rates, RateState, Refusal
from serval.errors import NotAuthenticated
from serval.settings.addresses import subject_of
from serval.settings.plans import Rate


class RequestLimiter:
    """Finds out who is calling and lets them through as often as they may."""

    def __init__(self, rates: Rates, callers: Callers, find_caller: FindCaller, address_rate: Rate | None) -> None:
        """`address_rate`: of whoever is not known; None: as often as they like."""
        self._rates = rates
        self._callers = callers
        self._find_caller = find_caller
        self._address_rate = address_rate

    async def identify(self, presented: Credential, origin: ClientInfo) -> Caller:
        """Return who presents a credential. Raises NotAuthenticated; RateLimited where the address has presented too
        many
        wrong ones.

        Who is known in the data plane already is let through also then: others behind the same address may be guessing.
        """
        address = _of_address(origin)
        if self._address_rate is not None and self._callers.user_of(presented.digest) is None:
            _raise(self._rates.peek([(address, self._address_rate)]))
        try:
            return await self._find_caller(presented, origin)
        except NotAuthenticated:
            self.charge(address, self._address_rate)
            raise

    def admit(self, caller: Caller) -> RateState | None:
        """Charge a request to its user. Raises RateLimited."""
        return self.charge(f"requests:{caller.user_id}", caller.api_rate)

    def admit_anybody(self, origin: ClientInfo) -> RateState | None:
        """Charge a request of nobody in particular to its address. Raises RateLimited."""
        return self.charge(_of_address(origin), self._address_rate)

    def charge(self, subject: str, rate: Rate | None) -> RateState | None:
        """Charge an act to `kind:id`; return what is left. Raises RateLimited."""
        if rate is None:
            return None
        return _raise(self._rates.charge([(subject, rate)]))

    def refund(self, subject: str, rate: Rate) -> None:
        """Give back what an act was charged that should not count."""
        self._rates.refund([(subject, rate)])


def _raise(outcome: RateState | Refusal | None) -> RateState | None:
    if isinstance(outcome, Refusal):
        raise too_often(outcome.arguments)
    return outcome


def _of_address(origin: ClientInfo) -> str:
    return f"address:{subject_of(origin.address)}"
