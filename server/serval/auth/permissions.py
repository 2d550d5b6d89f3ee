"""The access rule of each route; a route without one is not served."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

import msgspec

from serval.auth.caller import Caller, Scope
from serval.errors import NotPermitted


class RouteRule(msgspec.Struct, frozen=True):
    """What a route requires of its caller; whether the named resource exists for the caller is up to the service."""

    summary: str
    scope: Scope | None = None
    """The scope that a key must have; a login has every scope."""
    is_public: bool = False
    needs_admin: bool = False
    needs_all_models: bool = False
    """Whether keys for some models only are refused: the route is about more than models."""
    needs_unmetered: bool = False
    """Whether keys with a rate or a quota of their own are refused: the route could give more than these allow."""
    is_charged: bool = True
    """Whether the route counts against `api_rate`."""
    account: Literal["address", "logins"] = "address"
    """Of a public route: the account of the address that it is charged to."""

    def check(self, caller: Caller) -> None:
        """Raises NotPermitted, which names what is missing."""
        if self.scope is not None and self.scope not in caller.scopes:
            raise NotPermitted(f"This API key lacks the scope `{self.scope}`.")
        if self.needs_admin and not caller.is_admin:
            raise NotPermitted("Only administrators may do this.")
        if self.needs_all_models and caller.models is not None:
            raise NotPermitted(
                "This API key is for some models only, and this is about more: use a key for all models, or log in."
            )
        if self.needs_unmetered and caller.is_metered:
            raise NotPermitted(
                "This API key has a rate or a quota of its own, and this could give more than it allows: "
                "use a key without, or log in."
            )


PROBE = RouteRule("everyone, without a rate limit", is_public=True, is_charged=False)
PUBLIC = RouteRule("everyone", is_public=True)
LOG_IN = RouteRule("everyone", is_public=True, account="logins")
PRESENT_TOKEN = RouteRule("everyone", is_public=True, is_charged=False)
"""With a refresh token in the body or a cookie: the handler charges wrong ones as wrong credentials."""
AUTHENTICATED = RouteRule("every authenticated caller")
PREDICT = RouteRule("logins, and keys with the scope `predict`", "predict", is_charged=False)
READ = RouteRule("logins, and keys with the scope `models:read`", "models:read")
WRITE = RouteRule("logins, and keys with the scope `models:write`", "models:write")
KEYS = RouteRule("logins, and keys with the scope `admin`", "admin")
GIVE_KEYS = RouteRule("logins, and unmetered keys with the scope `admin`", "admin", needs_unmetered=True)
ACCOUNT = RouteRule("logins, and keys for all models with the scope `admin`", "admin", needs_all_models=True)
ADMINISTRATE = RouteRule(
    "administrators: their logins, and their unmetered keys for all models with the scope `admin`",
    "admin",
    needs_admin=True,
    needs_all_models=True,
    needs_unmetered=True,
)

ROUTE_RULES: Mapping[str, RouteRule] = MappingProxyType(
    {
        "POST /predict": PREDICT,
        "POST /api/v1/predict/{model}": PREDICT,
        "POST /api/v1/predict/{owner}/{model}": PREDICT,
        "POST /api/v1/models/{model}/test": PREDICT,
        "GET /api/v1/predictions": READ,
        "GET /api/v1/predictions/{prediction_id}": READ,
        "GET /models": AUTHENTICATED,
        "GET /api/v1/models": READ,
        "GET /api/v1/models/{model}": READ,
        "GET /api/v1/models/{model}/versions": READ,
        "GET /api/v1/models/{model}/versions/{number}": READ,
        "GET /api/v1/models/{model}/versions/{number}/report": READ,
        "GET /api/v1/models/{model}/versions/{number}/golden": READ,
        "GET /api/v1/models/{model}/versions/{number}/download": READ,
        "GET /api/v1/models/{model}/shares": READ,
        "GET /metrics": READ,
        "POST /api/v1/models/upload": WRITE,
        "POST /api/v1/storage/validate": WRITE,
        "PATCH /api/v1/models/{model}": WRITE,
        "DELETE /api/v1/models/{model}": WRITE,
        "POST /api/v1/models/{model}/restore": WRITE,
        "POST /api/v1/models/{model}/rollback": WRITE,
        "PUT /api/v1/models/{model}/shares": WRITE,
        "DELETE /api/v1/models/{model}/shares/{share_id}": WRITE,
        "POST /api/v1/models/{model}/versions/{number}/promote": WRITE,
        "PATCH /api/v1/models/{model}/versions/{number}": WRITE,
        "POST /api/v1/models/{model}/versions/{number}/deprecate": WRITE,
        "POST /api/v1/models/{model}/versions/{number}/archive": WRITE,
        "GET /api/v1/api-keys": KEYS,
        "POST /api/v1/api-keys": GIVE_KEYS,
        "GET /api/v1/api-keys/{key_id}": KEYS,
        "DELETE /api/v1/api-keys/{key_id}": KEYS,
        "POST /api/v1/api-keys/{key_id}/rotate": GIVE_KEYS,
        "POST /api/v1/auth/register": LOG_IN,
        "POST /api/v1/auth/login": LOG_IN,
        "POST /api/v1/auth/refresh": PRESENT_TOKEN,
        "POST /api/v1/auth/logout": PRESENT_TOKEN,
        "GET /api/v1/auth/me": AUTHENTICATED,
        "POST /api/v1/auth/signing-keys": ADMINISTRATE,
        "GET /api/v1/users/me": AUTHENTICATED,
        "PATCH /api/v1/users/me": ACCOUNT,
        "POST /api/v1/users/me/password": ACCOUNT,
        "GET /api/v1/users": ADMINISTRATE,
        "POST /api/v1/users": ADMINISTRATE,
        "GET /api/v1/users/{user}": ADMINISTRATE,
        "PATCH /api/v1/users/{user}": ADMINISTRATE,
        "POST /api/v1/users/{user}/disable": ADMINISTRATE,
        "POST /api/v1/users/{user}/enable": ADMINISTRATE,
        "POST /api/v1/users/{user}/password": ADMINISTRATE,
        "GET /api/v1/audit": ACCOUNT,
        "GET /": PUBLIC,
        "GET /health": PROBE,
        "GET /health/live": PROBE,
        "GET /health/ready": PROBE,
        "GET /info": PUBLIC,
        "GET /openapi.json": PUBLIC,
        "GET /docs": PUBLIC,
        "GET /redoc": PUBLIC,
        "GET /docs/errors": PUBLIC,
        "GET /docs/assets/{file_path}": PROBE,
    }
)
"""By method and path, as in `/openapi.json`."""


def rule_of(method: str, path: str) -> RouteRule:
    """Return the rule of a route. Raises KeyError for a route without one, which is a fault of ours."""
    return ROUTE_RULES[f"{method} {path}"]
