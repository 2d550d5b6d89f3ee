"""People for tests: users with logins and keys, as they come about over HTTP."""

import itertools
import secrets
from typing import Any, NamedTuple

import httpx2

from support import plain_http
from support.http_client import Client

PASSWORD = "five words nobody says often"
_numbers = itertools.count(1)


class Person(NamedTuple):
    """A user who has logged in."""

    id: str
    username: str
    email: str
    password: str
    access_token: str
    refresh_token: str

    @property
    def bearer(self) -> dict[str, str]:
        """The header of a request of theirs."""
        return {"Authorization": f"Bearer {self.access_token}"}


def anybody(server: Client) -> httpx2.Client:
    """A client that presents nothing by itself."""
    return plain_http.client(base_url=server.url, timeout=60)


def new_email() -> str:
    return f"person-{next(_numbers)}@example.com"


def register(server: Client, **more: Any) -> httpx2.Response:
    """Ask for an account."""
    with anybody(server) as http:
        return http.post(
            "/api/v1/auth/register", json={"email": new_email(), "password": PASSWORD, "full_name": "A Person"} | more
        )


def log_in(server: Client, email: str, password: str = PASSWORD) -> dict[str, Any]:
    """The tokens of a login."""
    with anybody(server) as http:
        answer = http.post("/api/v1/auth/login", json={"email": email, "password": password})
    assert answer.status_code == 200, answer.text
    tokens: dict[str, Any] = answer.json()
    return tokens


def person(server: Client, **more: Any) -> Person:
    """A new user who has logged in."""
    made = register(server, **more)
    assert made.status_code == 201, made.text
    user = made.json()
    tokens = log_in(server, user["email"])
    return Person(
        user["id"], user["username"], user["email"], PASSWORD, tokens["access_token"], tokens["refresh_token"]
    )


def key_of(server: Client, owner: Person, **more: Any) -> str:
    """A new API key of somebody."""
    body = {"name": f"test {secrets.token_hex(4)}"} | more
    made = plain_http.post(f"{server.url}/api/v1/api-keys", json=body, headers=owner.bearer)
    assert made.status_code == 201, made.text
    return str(made.json()["key"])
