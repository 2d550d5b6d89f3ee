"""Clients that share an address: none of them is refused for what the others do, and none makes the others wait."""

import asyncio
import itertools
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from typing import Any

import httpx2
import pytest
from sqlalchemy import update

from serval.auth.key_format import new_key
from serval.db.engine import Database
from serval.users.tables import User
from support import plain_http
from support.http_client import Client, serving
from support.plain_http import TRUSTS_NOBODY
from support.stored_users import add_person, on_database
from support.users import PASSWORD, new_email

MODELS, REFRESH, LOGIN, ME = "/api/v1/models", "/api/v1/auth/refresh", "/api/v1/auth/login", "/api/v1/auth/me"
RATE = 12
MORE = RATE + 8
"""Requests that use a rate up, even if some of it comes back meanwhile."""
_hosts = itertools.count(2)


@pytest.fixture(scope="module")
def limited(own_backend: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A server with a rate for each address, and hashes of passwords that take their time."""
    settings = {"SERVAL_API_RATE": f"{RATE}/min", "SERVAL_PASSWORD_HASH_BYTES": str(24 << 20), **own_backend}
    with serving(tmp_path_factory.mktemp("serval") / "data", settings) as client:
        yield client


def address() -> str:
    """An address of this machine that no other test uses."""
    return f"127.0.0.{next(_hosts)}"


@pytest.fixture
def here(limited: Client) -> Iterator[httpx2.Client]:
    """A client at an address of its own."""
    with closing(at(limited, address())) as http:
        yield http


def at(server: Client, source: str) -> httpx2.Client:
    transport = httpx2.HTTPTransport(local_address=source, verify=TRUSTS_NOBODY)
    return httpx2.Client(base_url=server.url, transport=transport, timeout=120)


def crowd_of(server: Client, source: str) -> httpx2.AsyncClient:
    """A client for many requests at once."""
    transport = httpx2.AsyncHTTPTransport(local_address=source, verify=TRUSTS_NOBODY)
    return httpx2.AsyncClient(base_url=server.url, transport=transport, timeout=120)


def statuses(ask: Callable[[], httpx2.Response]) -> list[int]:
    return [ask().status_code for _ in range(MORE)]


def member(server: Client) -> str:
    """The email address of a new user."""
    email = new_email()
    with closing(at(server, address())) as http:
        made = http.post("/api/v1/auth/register", json={"email": email, "password": PASSWORD})
    assert made.status_code == 201, made.text
    return email


def enter(http: httpx2.Client, email: str, password: str = PASSWORD) -> httpx2.Response:
    return http.post(LOGIN, json={"email": email, "password": password})


@pytest.fixture
def fresh_key(limited: Client, own_backend: Mapping[str, str]) -> dict[str, str]:
    """A key that the server has never seen, as headers."""
    return add_person(limited, own_backend, "fresh").headers


def test_anonymous_requests_lock_nobody_out(limited: Client, here: httpx2.Client, fresh_key: dict[str, str]) -> None:
    email = member(limited)
    assert set(statuses(lambda: here.get("/info"))) == {200, 429}
    assert here.get(MODELS, headers=fresh_key).status_code == 200
    assert here.post("/api/v1/predict/nothing", json={"input": [1]}, headers=fresh_key).status_code == 404
    tokens = enter(here, email)
    assert tokens.status_code == 200
    assert here.post(REFRESH, json={"refresh_token": tokens.json()["refresh_token"]}).status_code == 200
    assert here.get(MODELS, headers={"X-API-Key": new_key()}).status_code == 401


def test_wrong_credentials_lock_nobody_out(limited: Client, here: httpx2.Client, fresh_key: dict[str, str]) -> None:
    email = member(limited)
    asks = itertools.cycle(
        (
            lambda: here.get(MODELS, headers={"X-API-Key": new_key()}),
            lambda: here.get(MODELS, headers={"Authorization": "Bearer a.b.c"}),
            lambda: here.post("/api/v1/predict/nothing", json={"input": [1]}, headers={"X-API-Key": new_key()}),
            lambda: here.post(REFRESH, json={"refresh_token": new_key("srt_")}),
            lambda: here.post("/api/v1/auth/logout", json={"refresh_token": new_key("srt_")}),
        )
    )

    def ask_wrongly() -> httpx2.Response:
        return next(asks)()

    assert set(statuses(ask_wrongly)) == {401, 429}
    assert here.get(MODELS, headers=fresh_key).status_code == 200
    assert here.post("/api/v1/predict/nothing", json={"input": [1]}, headers=fresh_key).status_code == 404
    assert here.get("/info").status_code == 200
    tokens = enter(here, email).json()
    assert here.get(ME, headers={"Authorization": f"Bearer {tokens['access_token']}"}).status_code == 200
    again = here.post(REFRESH, json={"refresh_token": tokens["refresh_token"]})
    assert again.status_code == 200
    last = here.post("/api/v1/auth/logout", json={"refresh_token": again.json()["refresh_token"]})
    assert last.status_code == 204
    refused = next(answer for answer in (ask_wrongly() for _ in range(MORE)) if answer.status_code == 429)
    assert refused.headers["ratelimit-policy"] == f'"credentials";q={RATE};w=60'


def test_a_key_that_another_address_has_used_is_known_everywhere(
    limited: Client, here: httpx2.Client, fresh_key: dict[str, str]
) -> None:
    assert limited.http.get(MODELS, headers=fresh_key).status_code == 200
    assert 429 in statuses(lambda: here.get(MODELS, headers={"X-API-Key": new_key()}))
    assert [here.get(MODELS, headers=fresh_key).status_code for _ in range(5)] == [200] * 5


def test_failed_logins_lock_out_no_key_and_no_login_that_goes_on(limited: Client, fresh_key: dict[str, str]) -> None:
    email, source = member(limited), address()

    async def fail() -> set[int]:
        async with crowd_of(limited, source) as http:
            bodies = [{"email": new_email(), "password": "not this one"} for _ in range(MORE)]
            answers = await asyncio.gather(*(http.post(LOGIN, json=body) for body in bodies))
        return {answer.status_code for answer in answers}

    with closing(at(limited, source)) as here:
        tokens = enter(here, email).json()
        assert 429 in asyncio.run(fail())
        assert here.get(MODELS, headers=fresh_key).status_code == 200
        assert here.get("/info").status_code == 200
        assert here.post(REFRESH, json={"refresh_token": tokens["refresh_token"]}).status_code == 200


def test_refreshing_is_charged_to_the_user(limited: Client, here: httpx2.Client, fresh_key: dict[str, str]) -> None:
    token = enter(here, member(limited)).json()["refresh_token"]
    seen = set(statuses(lambda: here.post(REFRESH, json={"refresh_token": token})))
    assert 429 in seen
    assert here.get(MODELS, headers=fresh_key).status_code == 200
    assert here.get("/info").status_code == 200


def test_logins_from_many_addresses_leave_a_place_for_another(limited: Client, here: httpx2.Client) -> None:
    email = member(limited)
    crowd = [address() for _ in range(12)]

    async def attack() -> tuple[httpx2.Response, list[int]]:
        clients = [crowd_of(limited, source) for source in crowd]
        wrong = [
            asyncio.create_task(http.post(LOGIN, json={"email": new_email(), "password": "not this one"}))
            for _ in range(4)
            for http in clients
        ]
        await asyncio.wait(wrong, return_when=asyncio.FIRST_COMPLETED)
        good = await asyncio.to_thread(enter, here, email)
        pending = sum(not task.done() for task in wrong)
        answers = [answer.status_code for answer in await asyncio.gather(*wrong)]
        for http in clients:
            await http.aclose()
        assert pending > 0
        return good, answers

    good, answers = asyncio.run(attack())
    assert good.status_code == 200, good.text
    assert set(answers) == {401}


# --- Imported hashes

SALT = "G0ghgw676+jWMQXgtDuc3Q"
DIGEST = "L1qIR5ymQ0JCXvsqqcQxgkfzZ28sQsfz/HN7iyYK12Y"
BCRYPT = "KG6fOD3jUwMDC5O2vhP32O1XgSmIFKuzjax9HAkbe56UVcmoplFNe"
EXPENSIVE = {
    f"$argon2id$v=19$m=4194304,t=1,p=1${SALT}${DIGEST}": ("`m=4194304`", "`m=262144`"),
    f"$argon2id$v=19$m=65536,t=4000000000,p=1${SALT}${DIGEST}": ("`t=4000000000`", "from 1 to 10"),
    f"$2b$31${BCRYPT}": ("cost 31", "04 to 14"),
    f"$2b$12${BCRYPT[:21]}z{BCRYPT[22:]}": ("salt",),
}


@pytest.mark.parametrize("stored", EXPENSIVE)
def test_an_import_names_what_is_beyond_its_bound(server: Client, stored: str) -> None:
    answer = server.http.post("/api/v1/users", json={"email": new_email(), "password_hash": stored})
    assert answer.status_code == 400
    problem: dict[str, Any] = answer.json()
    assert [named for named in ("password_hash", *EXPENSIVE[stored]) if named not in problem["detail"]] == []
    assert problem["errors"][0]["path"] == "password_hash"


def test_a_hash_that_was_stored_before_is_refused_at_login_and_logged(server: Client, backend: dict[str, str]) -> None:
    made = server.http.post("/api/v1/users", json={"email": new_email()}).json()

    for stored in EXPENSIVE:

        async def store(database: Database, stored: str = stored) -> None:
            async with database.write() as session:
                await session.execute(update(User).where(User.id == made["id"]).values(password_hash=stored))

        on_database(server, backend, store)
        answer = plain_http.post(f"{server.url}{LOGIN}", json={"email": made["email"], "password": PASSWORD})
        assert (answer.status_code, answer.json()["detail"]) == (401, "The account or the password is wrong.")
    server.process.until("password_hash_refused")
    lines = [line for line in server.process.events if line["event"] == "password_hash_refused"]
    assert {line["user"] for line in lines} == {made["username"]}
    assert any("`m=4194304`" in line["reason"] for line in lines)
    assert server.http.post(f"/api/v1/users/{made['id']}/password", json={"password": PASSWORD}).status_code == 200
    assert (
        plain_http.post(f"{server.url}{LOGIN}", json={"email": made["email"], "password": PASSWORD}).status_code == 200
    )
