"""HTTP for logins."""

from litestar import Controller, Response, get, post
from litestar.di import NamedDependency
from litestar.params import JSONBody

from serval.auth.caller import Caller
from serval.auth.credentials import ACCESS_COOKIE, REFRESH_COOKIE, cookie, presented
from serval.auth.csrf import Csrf
from serval.errors import BadRequest, NameTaken, NotAuthenticated, NotPermitted
from serval.http.authenticate import origin_of
from serval.http.cookies import login_cookies, no_cookies
from serval.http.openapi import KEYED, PUBLIC
from serval.http.problems import JSON_ERRORS, keyed_responses
from serval.http.request import HttpRequest
from serval.settings.addresses import is_loopback
from serval.settings.settings import Settings
from serval.users.schemas import (
    CookieLogin,
    KeyRotation,
    Login,
    Refresh,
    Registration,
    SigningKeyView,
    Tokens,
    UserView,
)
from serval.users.service import AccountService
from serval.users.sessions import LoggedIn, SessionService
from serval.users.signing_keys import SigningKeys

_FORWARDED = ("forwarded", "via", "x-forwarded-for", "x-real-ip")


class AuthController(Controller):
    """Accounts begin and logins come and go here."""

    path = "/api/v1/auth"
    tags = ("Accounts",)

    @post(
        "/register",
        summary="Make an account",
        responses=keyed_responses(NameTaken, *JSON_ERRORS),
        operation_class=PUBLIC,
    )
    async def register(
        self,
        request: HttpRequest,
        data: JSONBody[Registration],
        accounts: NamedDependency[AccountService],
        settings: NamedDependency[Settings],
    ) -> UserView:
        if not _may_register(request, settings):
            raise NotPermitted("Registration is closed here: ask an administrator for an account (`registration`).")
        user = await accounts.register(
            origin_of(request.scope),
            email=data.email,
            password=data.password,
            full_name=data.full_name,
            username=data.username,
        )
        return UserView.of(user)

    @post(
        "/login",
        summary="Log in by address or username",
        status_code=200,
        responses=keyed_responses(*JSON_ERRORS),
        operation_class=PUBLIC,
    )
    async def login(
        self,
        request: HttpRequest,
        data: JSONBody[Login],
        accounts: NamedDependency[AccountService],
        csrf: NamedDependency[Csrf],
    ) -> Response[Tokens | CookieLogin]:
        if data.cookies:
            csrf.check_origin(_own_origin(request), request.headers)
        logged_in = await accounts.login(origin_of(request.scope), data.account, data.password)
        return _answer(request, logged_in, csrf, in_cookies=data.cookies)

    @post(
        "/refresh",
        summary="Go on with a login: a refresh token for the next one and a new access token",
        status_code=200,
        responses=keyed_responses(*JSON_ERRORS),
        operation_class=PUBLIC,
    )
    async def refresh(
        self,
        request: HttpRequest,
        sessions: NamedDependency[SessionService],
        csrf: NamedDependency[Csrf],
        data: JSONBody[Refresh | None] = None,
    ) -> Response[Tokens | CookieLogin]:
        token, in_cookies = _refresh_token(request, data)
        if in_cookies:
            csrf.check(await sessions.session_of(token), _own_origin(request), request.headers)
        logged_in = await sessions.refresh(token, origin_of(request.scope))
        return _answer(request, logged_in, csrf, in_cookies=in_cookies)

    @post(
        "/logout",
        summary="End a login",
        status_code=204,
        responses=keyed_responses(*JSON_ERRORS),
        operation_class=PUBLIC,
    )
    async def logout(
        self,
        request: HttpRequest,
        accounts: NamedDependency[AccountService],
        sessions: NamedDependency[SessionService],
        csrf: NamedDependency[Csrf],
        data: JSONBody[Refresh | None] = None,
    ) -> Response[None]:
        session_id, in_cookies = await _login_of(request, data, sessions)
        if in_cookies:
            csrf.check(session_id, _own_origin(request), request.headers)
        await accounts.logout(origin_of(request.scope), session_id)
        return Response(None, status_code=204, cookies=no_cookies(request.scope) if in_cookies else [])

    @get("/me", summary="Who you are", responses=keyed_responses(), operation_class=KEYED)
    async def me(self, caller: NamedDependency[Caller], accounts: NamedDependency[AccountService]) -> UserView:
        return UserView.of(await accounts.get(caller.user_id))

    @post(
        "/signing-keys",
        summary="Sign access tokens with a new key",
        responses=keyed_responses(*JSON_ERRORS),
        operation_class=KEYED,
    )
    async def rotate_signing_key(
        self,
        caller: NamedDependency[Caller],
        signing_keys: NamedDependency[SigningKeys],
        data: JSONBody[KeyRotation | None] = None,
    ) -> SigningKeyView:
        return SigningKeyView(
            await signing_keys.replace(caller, revoke_issued_tokens=data is not None and data.revoke_issued_tokens)
        )


def _may_register(request: HttpRequest, settings: Settings) -> bool:
    if settings.registration != "auto":
        return settings.registration == "open"
    client = request.client
    # A proxy on this machine that the settings do not name would make everybody look local.
    is_forwarded = bool(settings.trusted_proxies) or any(name in request.headers for name in _FORWARDED)
    return is_loopback(settings.host) and client is not None and is_loopback(client.host) and not is_forwarded


def _own_origin(request: HttpRequest) -> str:
    return f"{request.scope['scheme']}://{request.headers.get('host', '')}"


def _refresh_token(request: HttpRequest, data: Refresh | None) -> tuple[str, bool]:
    """The refresh token of a request, and whether it came in a cookie. Raises NotAuthenticated."""
    if data is not None and data.refresh_token is not None:
        return data.refresh_token, False
    token = cookie(request.scope["headers"], REFRESH_COOKIE)
    if token is None:
        raise NotAuthenticated("A refresh token is needed: send it as `refresh_token`.")
    return token, True


async def _login_of(request: HttpRequest, data: Refresh | None, sessions: SessionService) -> tuple[str, bool]:
    """The id of the login that a request is to end, and whether it is in cookies. Raises NotAuthenticated.

    A refresh token will do, in the body or in its cookie: the access token may have expired.
    """
    has_header = any(name in request.headers for name in ("authorization", "x-api-key"))
    is_in_body = data is not None and data.refresh_token is not None
    if is_in_body or not (has_header or cookie(request.scope["headers"], ACCESS_COOKIE)):
        token, in_cookies = _refresh_token(request, data)
        return await sessions.session_of(token), in_cookies
    credential = presented(request.scope["headers"])
    if credential.kind == "key":
        raise BadRequest("An API key is not logged in: revoke it where it is not needed any more.")
    caller = await sessions.find_caller(credential, origin_of(request.scope))
    return caller.session_id or "", credential.is_cookie


def _answer(
    request: HttpRequest, logged_in: LoggedIn, csrf: Csrf, *, in_cookies: bool
) -> Response[Tokens | CookieLogin]:
    if not in_cookies:
        return Response(Tokens(logged_in.access_token, logged_in.refresh_token, logged_in.access_seconds))
    token = csrf.token(logged_in.session_id)
    cookies = login_cookies(
        request.scope,
        access=logged_in.access_token,
        access_seconds=logged_in.access_seconds,
        refresh=logged_in.refresh_token,
        refresh_seconds=logged_in.refresh_seconds,
        csrf=token,
    )
    return Response(CookieLogin(token, logged_in.access_seconds), cookies=cookies)
