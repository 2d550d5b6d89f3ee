"""Tokens and cookies under attack: what was copied, made up, fixed beforehand or sent by another site."""

import base64
import json
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import jwt
import pytest

from support import plain_http
from support.http_client import Client, serving
from support.users import PASSWORD, Person, anybody, log_in, new_email, person, register
from support.waiting import wait_until

ME = "/api/v1/auth/me"


def asks(server: Client, token: str) -> int:
    return plain_http.get(f"{server.url}{ME}", headers={"Authorization": f"Bearer {token}"}).status_code


def b64(part: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A server whose database the tests may write into."""
    with serving(tmp_path_factory.mktemp("serval") / "data", {}) as client:
        yield client


def rewrite(server: Client, statement: str, *values: object) -> None:
    with sqlite3.connect(server.folder / "serval.sqlite", timeout=20) as database:
        database.execute(statement, values)


def test_reusing_a_refresh_token_after_its_grace_period_ends_the_login(own: Client) -> None:
    who = person(own)
    other = log_in(own, who.email)
    with anybody(own) as http:
        thief = http.post("/api/v1/auth/refresh", json={"refresh_token": who.refresh_token}).json()
        rewrite(own, "UPDATE refresh_tokens SET used_at = '2026-01-01 00:00:00.000000' WHERE used_at IS NOT NULL")
        again = http.post("/api/v1/auth/refresh", json={"refresh_token": who.refresh_token})
        assert again.status_code == 401
        assert "used before" in again.json()["detail"]
        assert http.post("/api/v1/auth/refresh", json={"refresh_token": thief["refresh_token"]}).status_code == 401
        assert asks(own, thief["access_token"]) == 401
        latest = http.post("/api/v1/auth/refresh", json={"refresh_token": other["refresh_token"]}).json()
        assert latest["refresh_token"] != thief["refresh_token"]
    assert asks(own, other["access_token"]) == 200


def test_an_unused_login_expires(own: Client) -> None:
    who = person(own)
    rewrite(own, "UPDATE sessions SET expires_at = '2026-01-01 00:00:00.000000' WHERE user_id = ?", who.id)
    assert asks(own, who.access_token) == 401
    with anybody(own) as http:
        assert http.post("/api/v1/auth/refresh", json={"refresh_token": who.refresh_token}).status_code == 401


def forged(token: str) -> dict[str, str]:
    """Tokens that look like one, by what is wrong with them."""
    head, body, signature = token.split(".")
    claims = jwt.decode(token, options={"verify_signature": False})
    kid = jwt.get_unverified_header(token)["kid"]
    later = claims | {"exp": claims["exp"] + 9999}
    return {
        "another body": f"{head}.{b64(later)}.{signature}",
        "no signature": f"{head}.{body}.A",
        "signature cut": token[:-2],
        "alg none": f"{b64({'alg': 'none', 'typ': 'JWT', 'kid': kid})}.{body}.A",
        "alg None": f"{b64({'alg': 'None', 'kid': kid})}.{body}.{signature}",
        "another algorithm": jwt.encode(later, "x" * 64, algorithm="HS512", headers={"kid": kid}),
        "a key of one's own": jwt.encode(later, b"\0" * 32, algorithm="HS256", headers={"kid": kid}),
        "an empty key": jwt.encode(later, b"\0" * 32, algorithm="HS256", headers={"kid": ""}),
        "no kid": jwt.encode(later, b"\0" * 32, algorithm="HS256"),
        "a kid that is a path": jwt.encode(later, b"\0" * 32, algorithm="HS256", headers={"kid": "../../dev/null"}),
        "a kid that is SQL": jwt.encode(later, b"\0" * 32, algorithm="HS256", headers={"kid": "' OR 1=1 --"}),
        "a key in the head": (
            f"{b64({'alg': 'HS256', 'jwk': {'kty': 'oct', 'k': 'AAAA'}, 'kid': kid})}.{body}.{signature}"
        ),
        "a head that is no object": f"{b64([1])}.{body}.{signature}",
        "no JSON": f"AAAA.BBBB.{signature}",
    }


def test_a_forged_token_is_refused(server: Client) -> None:
    who = person(server)
    assert asks(server, who.access_token) == 200
    for wrong, token in forged(who.access_token).items():
        answer = plain_http.get(f"{server.url}{ME}", headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 401, wrong
        prediction = plain_http.post(f"{server.url}/predict", json={}, headers={"Authorization": f"Bearer {token}"})
        assert (prediction.status_code, prediction.json()["detail"]) == (401, answer.json()["detail"]), wrong


@pytest.mark.parametrize(
    "claims", [{"sid": None}, {"sid": 7}, {"sub": 7}, {"iss": "other"}, {"exp": 1}, {"exp": "soon"}, {"iat": 2**40}]
)
def test_a_signed_token_with_wrong_claims_is_refused(own: Client, claims: dict[str, Any]) -> None:
    who = person(own)
    with sqlite3.connect(own.folder / "serval.sqlite", timeout=20) as database:
        kid, secret = database.execute("SELECT id, secret FROM signing_keys ORDER BY created_at DESC").fetchone()
    good = jwt.decode(who.access_token, secret, algorithms=["HS256"], options={"verify_iss": False})
    assert asks(own, jwt.encode(good, secret, algorithm="HS256", headers={"kid": kid})) == 200
    wrong = {name: value for name, value in (good | claims).items() if value is not None}
    assert asks(own, encode_loosely(wrong, secret, kid)) == 401


def encode_loosely(claims: dict[str, Any], secret: bytes, kid: str) -> str:
    """A signed token whose claims nobody checks on the way."""
    return jwt.api_jws.encode(
        json.dumps(claims).encode(), secret, algorithm="HS256", headers={"kid": kid, "typ": "JWT"}
    )


def test_an_access_token_expires(tmp_path: Path) -> None:
    with serving(tmp_path / "data", {"SERVAL_ACCESS_TOKEN_MINUTES": "0.01"}) as server:
        email = new_email()
        assert register(server, email=email).status_code == 201
        token = log_in(server, email)["access_token"]
        claims = jwt.decode(token, options={"verify_signature": False})
        wait_until(lambda: asks(server, token) == 401)
        assert time.time() > claims["exp"]


def test_rotating_signing_keys_keeps_logins(server: Client) -> None:
    who = person(server)
    made = server.http.post("/api/v1/auth/signing-keys")
    assert made.status_code == 201
    assert made.json()["id"] != jwt.get_unverified_header(who.access_token)["kid"]
    assert asks(server, who.access_token) == 200
    fresh = log_in(server, who.email)["access_token"]
    assert jwt.get_unverified_header(fresh)["kid"] == made.json()["id"]
    server.http.post("/api/v1/auth/signing-keys", json={"revoke_issued_tokens": True})
    assert asks(server, who.access_token) == asks(server, fresh) == 401
    with anybody(server) as http:  # the login itself goes on
        assert http.post("/api/v1/auth/refresh", json={"refresh_token": who.refresh_token}).status_code == 200


def test_the_first_signing_key_survives_a_restart_and_is_that_of_one_server(own: Client, tmp_path: Path) -> None:
    with serving(tmp_path / "data", {}) as server:
        who = person(server)
    with serving(tmp_path / "data", {}) as server:
        assert asks(server, who.access_token) == 200
    assert asks(own, who.access_token) == 401


# --- Logins in cookies


@pytest.fixture
def browser(server: Client) -> Iterator[tuple[httpx2.Client, Person, str]]:
    """A browser that has logged in: its client, who it is, and the token against forgery."""
    who = person(server)
    with anybody(server) as http:
        answer = http.post("/api/v1/auth/login", json={"email": who.email, "password": PASSWORD, "cookies": True})
        assert answer.status_code == 200
        yield http, who, answer.json()["csrf_token"]


def test_login_cookies_are_hidden_from_scripts_and_other_sites(server: Client) -> None:
    who = person(server)
    with anybody(server) as http:
        answer = http.post("/api/v1/auth/login", json={"email": who.email, "password": PASSWORD, "cookies": True})
    cookies = {header.split("=", 1)[0]: header.lower() for header in answer.headers.get_list("set-cookie")}
    assert cookies.keys() == {"serval_access", "serval_refresh", "serval_csrf"}
    assert all("samesite=strict" in cookie and "path=/" in cookie for cookie in cookies.values())
    assert "httponly" in cookies["serval_access"]
    assert "httponly" in cookies["serval_refresh"]
    assert "httponly" not in cookies["serval_csrf"]
    assert answer.json().keys() == {"csrf_token", "expires_in", "token_type"}


def test_a_cookie_login_needs_the_csrf_token_for_changes_only(
    browser: tuple[httpx2.Client, Person, str],
) -> None:
    http, who, csrf = browser
    assert http.get(ME).json()["id"] == who.id
    change = {"full_name": "By Cookie"}
    for headers in ({}, {"X-CSRF-Token": "wrong"}, {"X-CSRF-Token": csrf[:-1]}, {"X-CSRF-Token": "é"}):
        refused = http.patch("/api/v1/users/me", json=change, headers=[(k, v.encode()) for k, v in headers.items()])
        assert refused.status_code == 403, headers
        assert "X-CSRF-Token" in refused.json()["detail"]
    elsewhere = {"X-CSRF-Token": csrf, "Origin": "https://evil.example"}
    assert http.patch("/api/v1/users/me", json=change, headers=elsewhere).status_code == 403
    assert http.patch("/api/v1/users/me", json=change, headers={"X-CSRF-Token": csrf}).status_code == 200


def test_a_prediction_with_cookies_needs_the_csrf_token(browser: tuple[httpx2.Client, Person, str]) -> None:
    http, _, csrf = browser
    body = {"model_name": "nothing", "features": [1]}
    assert http.post("/predict", json=body).status_code == 403
    assert http.post("/predict", json=body, headers={"X-CSRF-Token": csrf}).status_code == 404


def test_the_csrf_token_of_another_login_is_refused(server: Client, browser: tuple[httpx2.Client, Person, str]) -> None:
    http, who, _ = browser
    with anybody(server) as other:
        theirs = other.post(
            "/api/v1/auth/login", json={"email": who.email, "password": PASSWORD, "cookies": True}
        ).json()["csrf_token"]
    http.cookies.set("serval_csrf", theirs)
    assert http.patch("/api/v1/users/me", json={"full_name": "x"}, headers={"X-CSRF-Token": theirs}).status_code == 403


def test_refresh_and_logout_work_with_cookies(browser: tuple[httpx2.Client, Person, str]) -> None:
    http, _, csrf = browser
    assert http.post("/api/v1/auth/refresh").status_code == 403
    before = http.cookies["serval_access"]
    assert http.post("/api/v1/auth/refresh", headers={"X-CSRF-Token": csrf}).json()["token_type"] == "cookie"
    http.cookies.delete("serval_access")  # what a browser does when its time is over
    assert http.post("/api/v1/auth/refresh", headers={"X-CSRF-Token": csrf}).status_code == 200
    assert http.cookies["serval_access"] != before or http.get(ME).status_code == 200
    assert http.post("/api/v1/auth/logout").status_code == 403
    answer = http.post("/api/v1/auth/logout", headers={"X-CSRF-Token": csrf})
    assert answer.status_code == 204
    assert not http.cookies
    assert http.get(ME).status_code == 401


def test_a_page_of_another_site_cannot_log_in_with_cookies(server: Client) -> None:
    who = person(server)
    body = {"email": who.email, "password": PASSWORD, "cookies": True}
    with anybody(server) as http:
        for origin in ("https://evil.example", "null", server.url + ".evil.example"):
            answer = http.post("/api/v1/auth/login", json=body, headers={"Origin": origin})
            assert answer.status_code == 403
            assert not http.cookies
        assert http.post("/api/v1/auth/login", json=body, headers={"Origin": server.url}).status_code == 200
        form = http.post("/api/v1/auth/login", data={"email": who.email, "password": PASSWORD})
        assert form.status_code == 415


def test_a_login_always_opens_a_new_session(server: Client) -> None:
    attacker, victim = person(server), person(server)
    with anybody(server) as http:
        http.cookies.set("serval_access", attacker.access_token)
        http.cookies.set("serval_refresh", attacker.refresh_token)
        http.post("/api/v1/auth/login", json={"email": victim.email, "password": PASSWORD, "cookies": True})
        cookies = {cookie.name: cookie.value for cookie in http.cookies.jar if cookie.domain}
    assert attacker.access_token not in cookies.values()
    claims = jwt.decode(cookies["serval_access"], options={"verify_signature": False})
    assert claims["sub"] == victim.id
    assert claims["sid"] != jwt.decode(attacker.access_token, options={"verify_signature": False})["sid"]


def test_a_header_takes_precedence_over_a_cookie(server: Client, browser: tuple[httpx2.Client, Person, str]) -> None:
    http, _, _ = browser
    other = person(server)
    assert http.get(ME, headers=other.bearer).json()["id"] == other.id
    assert http.patch("/api/v1/users/me", json={"full_name": "x"}, headers=other.bearer).status_code == 200


# --- Who may make an account


@pytest.mark.parametrize(
    ("settings", "headers", "status"),
    [
        ({"SERVAL_REGISTRATION": "closed"}, {}, 403),
        ({"SERVAL_TRUSTED_PROXIES": "10.0.0.1"}, {}, 403),
        ({"SERVAL_REGISTRATION": "open"}, {"X-Forwarded-For": "203.0.113.7"}, 201),
    ],
)
def test_automatic_registration_is_open_on_loopback_only(
    tmp_path: Path, settings: dict[str, str], headers: dict[str, str], status: int
) -> None:
    with serving(tmp_path / "data", settings) as server, anybody(server) as http:
        answer = http.post("/api/v1/auth/register", json={"email": new_email(), "password": PASSWORD}, headers=headers)
    assert answer.status_code == status, answer.text


def test_automatic_registration_is_closed_behind_a_proxy(own: Client) -> None:
    assert register(own).status_code == 201
    with anybody(own) as http:
        body = {"email": new_email(), "password": PASSWORD}
        answer = http.post("/api/v1/auth/register", json=body, headers={"X-Forwarded-For": "203.0.113.7"})
    assert answer.status_code == 403, answer.text
