"""Limits the requests of each user and each address, charged to the rate limiter of the data plane.

What clients without a valid credential do is charged to their address, on accounts of its own for each kind of request:
many users may share an address, and none of them is refused for what another does.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from serval.auth.caller import Caller, ClientInfo, FindCaller
from serval.auth.credentials import Credential
from serval.auth.rate_headers import rate_headers, rate_limited
from serval.auth.turns import Turns
from serval.data_plane.plane import Callers, Rates, RateState, Refusal
from serval.errors import NotAuthenticated
from serval.settings.plans import Rate

LOOKUPS = 2
"""Look-ups at a time of credentials from addresses that have sent too many wrong ones."""
WAITING_LOOKUPS = 4096
"""More than there are places for requests."""


class RequestLimiter:
    """Identifies callers and charges their requests."""

    def __init__(self, rates: Rates, callers: Callers, find_caller: FindCaller, address_rate: Rate | None) -> None:
        """`address_rate`: of each account of an address; None: unlimited."""
        self._rates = rates
        self._callers = callers
        self._find_caller = find_caller
        self._address_rate = address_rate
        self._lookups = Turns(
            LOOKUPS, WAITING_LOOKUPS, WAITING_LOOKUPS, "Too many credentials are being checked: try again in a second."
        )

    async def identify(self, credential: Credential, client: ClientInfo) -> Caller:
        """Return the caller of a credential, which is looked up whatever others have sent from its address.

        Raises NotAuthenticated; RateLimited instead where the address has sent too many wrong credentials.
        """
        async with self.checking(client, is_known=self._callers.user_of(credential.digest) is not None):
            caller = await self._find_caller(credential, client)
        self._callers.recognize(credential.digest, caller.user_id)
        return caller

    @asynccontextmanager
    async def checking(self, client: ClientInfo, *, is_known: bool = False) -> AsyncIterator[None]:
        """Look up a credential in the block, which raises NotAuthenticated where it is wrong: that is charged.

        An address that has sent too many wrong ones waits for its turn, unless the credential `is_known` to be right.
        Raises RateLimited in place of NotAuthenticated for a wrong one of such an address.
        """
        subject = f"credentials:{client.network}"
        must_wait = not is_known and self._is_used_up(subject)
        if must_wait:
            await self._lookups.take(subject)
        try:
            yield
        except NotAuthenticated:
            self.charge(subject, self._address_rate)
            raise
        finally:
            if must_wait:
                self._lookups.release()

    def admit(self, caller: Caller) -> dict[str, str]:
        """Charge a request to its user; return the headers of its response. Raises RateLimited."""
        return _headers(self.charge_user(caller.user_id, caller.api_rate))

    def charge_user(self, user_id: str, api_rate: Rate | None) -> RateState | None:
        """Charge a request to a user; return what is left. Raises RateLimited."""
        return self.charge(f"requests:{user_id}", api_rate)

    def admit_client(self, client: ClientInfo, account: str) -> dict[str, str]:
        """Charge an unauthenticated request to an account of its address; return the headers of its response.

        `account`: a kind of requests, as `address`. Raises RateLimited.
        """
        return _headers(self.charge(f"{account}:{client.network}", self._address_rate))

    def charge(self, subject: str, rate: Rate | None) -> RateState | None:
        """Charge one request to `kind:id`; return what is left. Raises RateLimited."""
        if rate is None:
            return None
        return _raise(self._rates.charge([(subject, rate)]))

    def _is_used_up(self, subject: str) -> bool:
        return self._address_rate is not None and self._rates.peek([(subject, self._address_rate)]) is not None

    def refund(self, subject: str, rate: Rate) -> None:
        """Take back the charge of a request that does not count."""
        self._rates.refund([(subject, rate)])


def _headers(rate: RateState | None) -> dict[str, str]:
    return {} if rate is None else rate_headers(rate)


def _raise(outcome: RateState | Refusal | None) -> RateState | None:
    if isinstance(outcome, Refusal):
        raise rate_limited(outcome.arguments)
    return outcome
