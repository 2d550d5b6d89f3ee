"""Who may register: programs and own pages, no page of another site; and what an open server tells of accounts."""

import time
from collections.abc import Iterator

import httpx2
import pytest

from serval.auth.passwords import FAILURE_SECONDS
from support.http_client import Client, serving
from support.users import PASSWORD, anybody, log_in, new_email, person

REGISTER = "/api/v1/auth/register"
EVIL = "https://evil.example"


def ask(server: Client, headers: dict[str, str] | list[tuple[str, str]] | None = None) -> httpx2.Response:
    with anybody(server) as http:
        return http.post(REGISTER, json={"email": new_email(), "password": PASSWORD}, headers=headers)


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": EVIL},
        {"Origin": "null"},
        {"Origin": "*"},
        {"Origin": "http://localhost:3000"},
        {"Origin": "http://127.0.0.1"},
        {"Origin": EVIL, "Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"},
        {"Host": "evil.example"},
        {"Host": "evil.example:8080", "Origin": "http://evil.example:8080", "Sec-Fetch-Site": "same-origin"},
        {"Host": "localhost.evil.example"},
        {"Host": "192.0.2.1"},
    ],
    ids=str,
)
def test_a_page_of_another_site_cannot_register(server: Client, headers: dict[str, str]) -> None:
    answer = ask(server, headers)
    assert (answer.status_code, answer.json()["code"]) == (403, "not_permitted"), answer.text


def test_a_second_origin_changes_nothing(server: Client) -> None:
    own = server.url
    for both in ([own, EVIL], [EVIL, own]):
        assert ask(server, [("Origin", origin) for origin in both]).status_code in {400, 403}


def test_programs_and_own_pages_register(server: Client) -> None:
    port = server.process.port
    for host in (f"127.0.0.1:{port}", f"localhost:{port}", f"[::1]:{port}", f"serval.localhost:{port}", "localhost"):
        page = {"Host": host, "Origin": f"http://{host}", "Sec-Fetch-Site": "same-origin"}
        assert ask(server, page).status_code == 201, host
        assert ask(server, {"Host": host}).status_code == 201, host
    assert ask(server, {"Sec-Fetch-Site": "none"}).status_code == 201


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A server that others than this machine may reach, and register at."""
    settings = {
        "SERVAL_REGISTRATION": "open",
        "SERVAL_HOST": "0.0.0.0",
        "SERVAL_CORS_ORIGINS": "https://app.example.com",
    }
    with serving(tmp_path_factory.mktemp("serval") / "data", settings) as client:
        yield client


def test_an_open_server_tells_nobody_who_has_an_account(wide: Client) -> None:
    email, answers = new_email(), []
    bodies = [
        {"email": email, "password": PASSWORD, "username": "first-of-all"},
        {"email": email, "password": "another good one"},
        {"email": email.upper(), "password": "another good one", "full_name": "Somebody", "username": "nobody-yet"},
        {"email": new_email(), "password": "another good one", "username": "first-of-all"},
        {"email": new_email(), "password": PASSWORD},
    ]
    with anybody(wide) as http:
        for body in bodies:
            began = time.monotonic()
            answers.append(http.post(REGISTER, json=body))
            assert time.monotonic() - began >= FAILURE_SECONDS
        wrong = http.post("/api/v1/auth/login", json={"email": email, "password": "another good one"})
    assert len({(answer.status_code, answer.text) for answer in answers}) == 1
    assert answers[0].status_code == 201
    assert email not in answers[0].text
    headers = [{name for name in answer.headers if not name.startswith("ratelimit")} for answer in answers]
    assert all(names == headers[0] for names in headers)
    assert wrong.status_code == 401
    assert log_in(wide, email)
    assert log_in(wide, bodies[-1]["email"])
    assert wide.http.get("/api/v1/users/nobody-yet").status_code == 404
    trail = wide.http.get("/api/v1/audit", params={"action": "user.register", "outcome": "failure"}).json()["items"]
    assert len(trail) == 3


def test_an_open_server_names_what_is_wrong_with_a_registration(wide: Client) -> None:
    with anybody(wide) as http:
        for body in ({"email": "nobody", "password": PASSWORD}, {"email": new_email(), "password": "short"}):
            assert http.post(REGISTER, json=body).status_code == 400


def test_an_open_server_takes_registrations_of_listed_pages_only(wide: Client) -> None:
    listed = {"Origin": "https://app.example.com", "Sec-Fetch-Site": "cross-site"}
    assert ask(wide, listed).status_code == 201
    assert ask(wide, {"Host": "models.example.com", "Origin": "http://models.example.com"}).status_code == 201
    assert ask(wide, {"Origin": EVIL}).status_code == 403


def test_on_this_machine_a_taken_name_is_told(server: Client) -> None:
    who = person(server)
    with anybody(server) as http:
        taken = http.post(REGISTER, json={"email": who.email, "password": PASSWORD})
    assert (taken.status_code, taken.json()["code"]) == (409, "name_taken")
