"""Users, their logins and their keys as a part of the service."""

from collections.abc import Sequence
from typing import NamedTuple

from serval.auth.caller import Caller, ClientInfo, FindCaller
from serval.auth.credentials import Credential
from serval.auth.csrf import Csrf
from serval.auth.passwords import Passwords
from serval.auth.request_limiter import RequestLimiter
from serval.core import Core
from serval.feature import Background, Closing, Feature
from serval.settings.plans import rate_of
from serval.users.failed_logins import FailedLogins
from serval.users.first_administrator import ensure_administrator
from serval.users.gauges import UserGauges
from serval.users.key_routes import ApiKeyController
from serval.users.keys import FindModel, KeyService
from serval.users.limits import UserLimits
from serval.users.login_routes import AuthController
from serval.users.routes import UserController
from serval.users.service import UserService
from serval.users.sessions import SessionService
from serval.users.signing_keys import SigningKeys
from serval.users.usage import UsageRecorder

ROUTES = (AuthController, UserController, ApiKeyController)


class Users(NamedTuple):
    """The feature, and what other features use of it."""

    feature: Feature
    limiter: RequestLimiter
    csrf: Csrf
    usage: UsageRecorder


async def build(core: Core, find_model: FindModel) -> Users:
    """Create the first administrator where there is none. Raises DatabaseUnavailable."""
    settings, database, callers = core.settings, core.database, core.plane.callers
    if await ensure_administrator(database, settings.admin_key_file):
        core.log.info("administrator_created", key_file=str(settings.admin_key_file))
    limits = UserLimits(settings)
    signing_keys = SigningKeys(database, core.changes, settings.signing_key_days, settings.access_token_minutes)
    sessions = SessionService(
        database, callers, core.changes, signing_keys, limits, settings.refresh_token_days, core.secrets["refresh"]
    )
    usage = UsageRecorder(callers, database, core.log)
    keys = KeyService(database, callers, core.changes, limits, usage, find_model)
    limiter = RequestLimiter(core.plane.rates, callers, _find_caller(keys, sessions), rate_of(settings.api_rate))
    passwords = Passwords(settings.password_min_length, settings.password_hash_bytes)
    csrf = Csrf(core.secrets["csrf"], settings.cors_origins)
    background: Sequence[Background] = (
        Closing(passwords.close),
        usage,
        UserGauges(database, core.metrics.gauges, core.log),
    )
    dependencies = {
        "users": UserService(
            database,
            core.changes,
            passwords,
            sessions,
            limiter,
            core.log,
            FailedLogins(database, core.is_database_disk_low, core.log),
        ),
        "sessions": sessions,
        "signing_keys": signing_keys,
        "keys": keys,
        "csrf": csrf,
        "limiter": limiter,
    }
    return Users(Feature(routes=ROUTES, dependencies=dependencies, background=background), limiter, csrf, usage)


def _find_caller(keys: KeyService, sessions: SessionService) -> FindCaller:
    """API keys are looked up by one service, access tokens by the other."""

    async def find_caller(credential: Credential, client: ClientInfo) -> Caller:
        look_up = keys.find_caller if credential.kind == "key" else sessions.find_caller
        return await look_up(credential, client)

    return find_caller
