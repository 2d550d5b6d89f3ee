"""Who may call which route: the one place that says it. A route that is not here is not served."""

from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from serval.auth.caller import Caller, Scope
from serval.errors import NotPermitted


class Permission(msgspec.Struct, frozen=True):
    """What a route asks of its caller; whether the thing that it names exists for the caller is the service's to
    say."""

    summary: str
    scope: Scope | None = None
    """What a key must be for; a login is for everything."""
    is_public: bool = False
    needs_admin: bool = False
    is_charged: bool = True
    """Whether the route counts against `api_rate`."""

    def check(self, caller: Caller) -> None:
        """Raises NotPermitted, which names what is missing."""
        if self.scope is not None and self.scope not in caller.scopes:
            raise NotPermitted(f"This API key is not for that: it needs the scope `{self.scope}`.")
        if self.needs_admin and not caller.is_admin:
            raise NotPermitted("Only administrators may do that.")


PROBE = Permission("anybody, as often as they like", is_public=True, is_charged=False)
PUBLIC = Permission("anybody", is_public=True)
SIGNED_IN = Permission("whoever is known")
PREDICT = Permission("keys for `predict`, logins", "predict", is_charged=False)
READ = Permission("keys for `models:read`, logins", "models:read")
WRITE = Permission("keys for `models:write`, logins", "models:write")
ACCOUNT = Permission("keys for `admin`, logins", "admin")
ADMINISTRATE = Permission("administrators: their logins, and keys for `admin`", "admin", needs_admin=True)

PERMISSIONS: Mapping[str, Permission] = MappingProxyType(
    {
        "POST /predict": PREDICT,
        "POST /api/v1/predict/{model}": PREDICT,
        "POST /api/v1/predict/{owner}/{model}": PREDICT,
        "POST /api/v1/models/{model}/test": PREDICT,
        "GET /api/v1/predictions": READ,
        "GET /api/v1/predictions/{prediction_id}": READ,
        "GET /models": SIGNED_IN,
        "GET /api/v1/models": READ,
        "GET /api/v1/models/{model}": READ,
        "GET /api/v1/models/{model}/versions": READ,
        "GET /api/v1/models/{model}/versions/{number}": READ,
        "GET /api/v1/models/{model}/versions/{number}/report": READ,
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
        "POST /api/v1/models/{model}/versions/{number}/deprecate": WRITE,
        "POST /api/v1/models/{model}/versions/{number}/archive": WRITE,
        "GET /api/v1/api-keys": ACCOUNT,
        "POST /api/v1/api-keys": ACCOUNT,
        "GET /api/v1/api-keys/{key_id}": ACCOUNT,
        "DELETE /api/v1/api-keys/{key_id}": ACCOUNT,
        "POST /api/v1/api-keys/{key_id}/rotate": ACCOUNT,
        "POST /api/v1/auth/register": PUBLIC,
        "POST /api/v1/auth/login": PUBLIC,
        "POST /api/v1/auth/refresh": PUBLIC,
        "POST /api/v1/auth/logout": PUBLIC,
        "GET /api/v1/auth/me": SIGNED_IN,
        "POST /api/v1/auth/signing-keys": ADMINISTRATE,
        "GET /api/v1/users/me": SIGNED_IN,
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
"""By method and path, as `/openapi.json` writes it."""


def permission_of(method: str, path: str) -> Permission:
    """Return what a route asks of its caller. Raises KeyError for a route that states nothing, which is a fault of
    ours."""
    return PERMISSIONS[f"{method} {path}"]
