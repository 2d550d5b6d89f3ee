"""Routes of registration and logins."""

from litestar import Controller, Response, get, post
from litestar.di import NamedDependency
from litestar.params import JSONBody

from serval.auth.caller import Caller
from serval.auth.credentials import ACCESS_COOKIE, REFRESH_COOKIE, cookie, read_credential
from serval.auth.csrf import Csrf
from serval.auth.request_limiter import RequestLimiter
from serval.errors import BadRequest, NameTaken, NotAuthenticated
from serval.http.cookies import expired_cookies, login_cookies
from serval.http.openapi import JSON_ERRORS, KEYED, PUBLIC, keyed_responses
from serval.http.request import HttpRequest
from serval.http.request_logging import client_of
from serval.settings.settings import Settings
from serval.users.registration import check_may_register, is_local
from serval.users.schemas import (
    CookieLogin,
    KeyRotation,
    Login,
    Refresh,
    Registration,
    RegistrationReceived,
    SigningKeyView,
    Tokens,
    UserView,
)
from serval.users.service import UserService
from serval.users.sessions import LoginTokens, SessionService
from serval.users.signing_keys import SigningKeys


class AuthController(Controller):
    """Registration, logins, and the keys that sign access tokens."""

    path = "/api/v1/auth"

    @post(
        "/register",
        operation_id="register",
        summary="Register a user",
        tags=["Users"],
        responses=keyed_responses(NameTaken, *JSON_ERRORS),
        operation_class=PUBLIC,
    )
    async def register(
        self,
        request: HttpRequest,
        data: JSONBody[Registration],
        users: NamedDependency[UserService],
        settings: NamedDependency[Settings],
    ) -> UserView | RegistrationReceived:
        """Create an account for yourself, where this server allows it (setting `SERVAL_REGISTRATION`). Where others
        than this machine may, the response is the same whether the address or username has an account already."""
        check_may_register(request, settings)
        client = client_of(request.scope)
        if is_local(request, settings):
            return UserView.of(await users.register(client, data))
        await users.register_untold(client, data)
        return RegistrationReceived()

    @post(
        "/login",
        operation_id="login",
        summary="Log in by email address or username",
        tags=["Logins"],
        status_code=200,
        responses=keyed_responses(*JSON_ERRORS),
        operation_class=PUBLIC,
    )
    async def login(
        self,
        request: HttpRequest,
        data: JSONBody[Login],
        users: NamedDependency[UserService],
        csrf: NamedDependency[Csrf],
    ) -> Response[Tokens | CookieLogin]:
        """Exchange a password for an access token and a refresh token, or for cookies. Programs rather use keys."""
        if data.cookies:
            csrf.check_origin(request.own_origin, request.headers)
        login = await users.login(client_of(request.scope), data.account, data.password)
        return _answer(request, login, csrf, in_cookies=data.cookies)

    @post(
        "/refresh",
        operation_id="refresh_login",
        summary="Refresh a login: exchange its refresh token for new tokens",
        tags=["Logins"],
        status_code=200,
        responses=keyed_responses(*JSON_ERRORS),
        operation_class=PUBLIC,
    )
    async def refresh(
        self,
        request: HttpRequest,
        sessions: NamedDependency[SessionService],
        csrf: NamedDependency[Csrf],
        limiter: NamedDependency[RequestLimiter],
        data: JSONBody[Refresh | None] = None,
    ) -> Response[Tokens | CookieLogin]:
        """Exchange a refresh token, or the one in the cookie, for new tokens. Each can be used once; within ten seconds
        another request with it, as of a second tab, gets the same new refresh token."""
        client = client_of(request.scope)
        async with limiter.checking(client):
            token, in_cookies = _refresh_token(request, data)
            session = await sessions.session_of(token)
            if in_cookies:
                csrf.check(session.id, request.own_origin, request.headers)
            limiter.charge_user(session.user_id, sessions.api_rate_of(session))
            login = await sessions.refresh(token, client)
        return _answer(request, login, csrf, in_cookies=in_cookies)

    @post(
        "/logout",
        operation_id="logout",
        summary="Log out",
        tags=["Logins"],
        status_code=204,
        responses=keyed_responses(*JSON_ERRORS),
        operation_class=PUBLIC,
    )
    async def logout(
        self,
        request: HttpRequest,
        users: NamedDependency[UserService],
        sessions: NamedDependency[SessionService],
        csrf: NamedDependency[Csrf],
        limiter: NamedDependency[RequestLimiter],
        data: JSONBody[Refresh | None] = None,
    ) -> Response[None]:
        """End a login: its refresh token and its access tokens stop working."""
        async with limiter.checking(client_of(request.scope)):
            session_id, in_cookies = await _login_of(request, data, sessions)
        if in_cookies:
            csrf.check(session_id, request.own_origin, request.headers)
        await users.logout(client_of(request.scope), session_id)
        return Response(None, status_code=204, cookies=expired_cookies(request.scope) if in_cookies else [])

    @get(
        "/me",
        operation_id="get_me",
        summary="Show the current user",
        tags=["Users"],
        responses=keyed_responses(),
        operation_class=KEYED,
    )
    async def get_me(self, caller: NamedDependency[Caller], users: NamedDependency[UserService]) -> UserView:
        """Show the account of the key or login that asks, as `GET /api/v1/users/me` does."""
        return UserView.of(await users.get_user(caller.user_id))

    @post(
        "/signing-keys",
        operation_id="rotate_signing_key",
        summary="Rotate the key that signs access tokens",
        tags=["Logins"],
        responses=keyed_responses(*JSON_ERRORS),
        operation_class=KEYED,
    )
    async def rotate_signing_key(
        self,
        caller: NamedDependency[Caller],
        signing_keys: NamedDependency[SigningKeys],
        data: JSONBody[KeyRotation | None] = None,
    ) -> SigningKeyView:
        """Sign access tokens with a new key from now on and, where the old one has leaked, refuse all tokens that it
        signed."""
        return SigningKeyView(
            await signing_keys.replace(caller, revoke_issued_tokens=data is not None and data.revoke_issued_tokens)
        )


def _refresh_token(request: HttpRequest, data: Refresh | None) -> tuple[str, bool]:
    """Return the refresh token of a request, and whether it came in a cookie. Raises NotAuthenticated."""
    if data is not None and data.refresh_token is not None:
        return data.refresh_token, False
    token = cookie(request.scope["headers"], REFRESH_COOKIE)
    if token is None:
        raise NotAuthenticated("A refresh token is needed: send it as `refresh_token`.")
    return token, True


async def _login_of(request: HttpRequest, data: Refresh | None, sessions: SessionService) -> tuple[str, bool]:
    """Return the id of the login that a request ends, and whether it is in cookies. Raises NotAuthenticated.

    A refresh token is enough, in the body or in its cookie: the access token may have expired.
    """
    has_header = any(name in request.headers for name in ("authorization", "x-api-key"))
    is_in_body = data is not None and data.refresh_token is not None
    if is_in_body or not (has_header or cookie(request.scope["headers"], ACCESS_COOKIE)):
        token, in_cookies = _refresh_token(request, data)
        return (await sessions.session_of(token)).id, in_cookies
    credential = read_credential(request.scope["headers"])
    if credential.kind == "key":
        raise BadRequest("An API key has no login to end: revoke the key instead.")
    caller = await sessions.find_caller(credential, client_of(request.scope))
    return caller.session_id or "", credential.is_cookie


def _answer(
    request: HttpRequest, login: LoginTokens, csrf: Csrf, *, in_cookies: bool
) -> Response[Tokens | CookieLogin]:
    if not in_cookies:
        return Response(Tokens(login.access_token, login.refresh_token, login.access_seconds))
    token = csrf.token(login.session_id)
    cookies = login_cookies(
        request.scope,
        access=login.access_token,
        access_seconds=login.access_seconds,
        refresh=login.refresh_token,
        refresh_seconds=login.refresh_seconds,
        csrf=token,
    )
    return Response(CookieLogin(token, login.access_seconds), cookies=cookies)
