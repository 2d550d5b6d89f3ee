"""Limits the requests of each user and each address, charged to the rate limiter of the data plane."""

from serval.auth.caller import Caller, ClientInfo, FindCaller
from serval.auth.credentials import Credential
from serval.auth.rate_headers import rate_headers, rate_limited
from serval.data_plane.plane import Callers, Rates, RateState, Refusal
from serval.errors import NotAuthenticated
from serval.settings.addresses import limited_network
from serval.settings.plans import Rate


class RequestLimiter:
    """Identifies callers and charges their requests."""

    def __init__(self, rates: Rates, callers: Callers, find_caller: FindCaller, address_rate: Rate | None) -> None:
        """`address_rate`: of each address of unauthenticated clients; None: unlimited."""
        self._rates = rates
        self._callers = callers
        self._find_caller = find_caller
        self._address_rate = address_rate

    async def identify(self, credential: Credential, client: ClientInfo) -> Caller:
        """Return the caller of a credential.

        Raises NotAuthenticated; RateLimited where the address has sent too many wrong credentials. A credential that
        the data plane knows is admitted even then: another client may share its address.
        """
        address = _address_subject(client)
        if self._address_rate is not None and self._callers.user_of(credential.digest) is None:
            _raise(self._rates.peek([(address, self._address_rate)]))
        try:
            return await self._find_caller(credential, client)
        except NotAuthenticated:
            self.charge(address, self._address_rate)
            raise

    def admit(self, caller: Caller) -> dict[str, str]:
        """Charge a request to its user; return the headers of its response. Raises RateLimited."""
        return _headers(self.charge(f"requests:{caller.user_id}", caller.api_rate))

    def admit_client(self, client: ClientInfo) -> dict[str, str]:
        """Charge an unauthenticated request to its address; return the headers of its response. Raises RateLimited."""
        return _headers(self.charge(_address_subject(client), self._address_rate))

    def charge(self, subject: str, rate: Rate | None) -> RateState | None:
        """Charge one request to `kind:id`; return what is left. Raises RateLimited."""
        if rate is None:
            return None
        return _raise(self._rates.charge([(subject, rate)]))

    def refund(self, subject: str, rate: Rate) -> None:
        """Take back the charge of a request that does not count."""
        self._rates.refund([(subject, rate)])


def _headers(rate: RateState | None) -> dict[str, str]:
    return {} if rate is None else rate_headers(rate)


def _raise(outcome: RateState | Refusal | None) -> RateState | None:
    if isinstance(outcome, Refusal):
        raise rate_limited(outcome.arguments)
    return outcome


def _address_subject(client: ClientInfo) -> str:
    return f"address:{limited_network(client.address)}"
