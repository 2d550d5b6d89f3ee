"""The second person on the command line: an account, a login, keys of their own."""

import json
import re
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from support.command_line import Ran, run
from support.http_client import Client
from support.users import PASSWORD, Person, log_in, person


@pytest.fixture
def somebody(embedded_server: Client) -> Person:
    return person(embedded_server)


@pytest.fixture
def at_server(embedded_server: Client, tmp_path: Path) -> Callable[..., Ran]:
    """Runs a command with the server's address and no key."""

    def ran(*arguments: object, text: str | None = None, **settings: str) -> Ran:
        return run(*arguments, folder=tmp_path, text=text, SERVAL_URL=embedded_server.url, **settings)

    return ran


def logged_in(at_server: Callable[..., Ran], account: str, *options: object) -> Ran:
    ran = at_server("login", "--email", account, "--password-stdin", *options, text=f"{PASSWORD}\n")
    assert ran.code == 0, ran.err
    return ran


def logins(folder: Path) -> Path:
    return folder / ".config" / "serval" / "logins.json"


def test_a_login_keeps_a_key_that_commands_find_and_a_logout_revokes_it(
    embedded_server: Client, somebody: Person, at_server: Callable[..., Ran], tmp_path: Path
) -> None:
    assert "log in with `serval login`" in at_server("whoami").err
    said = logged_in(at_server, somebody.email).out
    assert said.startswith(f"logged in to {embedded_server.url} as {somebody.username}; the key is in ")
    assert stat.S_IMODE(logins(tmp_path).stat().st_mode) == 0o600
    assert stat.S_IMODE(logins(tmp_path).parent.stat().st_mode) == 0o700
    assert at_server("whoami").out.splitlines() == [
        f"{somebody.username} ({somebody.email}), user",
        "storage 0 bytes of models",
        f"server  {embedded_server.url}",
        f"key     from the login of `{somebody.username}` in `{logins(tmp_path)}`",
    ]
    (key,) = json.loads(at_server("key", "list", "--json").out)["items"]
    assert (key["name"].startswith("serval login on "), key["expires_at"]) == (True, None)
    stored = json.loads(logins(tmp_path).read_text())[embedded_server.url]["key"]
    assert at_server("logout").out == f"logged out of {embedded_server.url}\n"
    assert json.loads(logins(tmp_path).read_text()) == {}
    assert "unknown, revoked or expired" in at_server("whoami", "--key", stored).err
    assert "you are not logged in" in at_server("logout").err


def test_a_second_login_replaces_the_first_and_each_server_has_its_own(
    embedded_server: Client, somebody: Person, at_server: Callable[..., Ran], tmp_path: Path
) -> None:
    assert " until 20" in logged_in(at_server, somebody.username, "--days", 3).out
    logged_in(at_server, somebody.email)
    keys = json.loads(at_server("key", "list", "--json").out)["items"]
    assert [key["revoked_at"] is not None for key in keys] == [False, True]
    elsewhere = embedded_server.url.replace("127.0.0.1", "LOCALHOST")
    logged_in(lambda *given, text: at_server(*given, "--url", elsewhere, text=text), somebody.email)
    assert set(json.loads(logins(tmp_path).read_text())) == {embedded_server.url, elsewhere.lower()}
    assert at_server("whoami", "--url", elsewhere.lower()).code == 0
    other = run("whoami", "--key", "srv_x", folder=tmp_path).err
    assert embedded_server.url not in other, "a key that is given does not go to the server of a login"
    for left in (elsewhere.lower(), embedded_server.url):
        assert f"server  {left}\n" in run("whoami", folder=tmp_path).out, "the server of the last login that is left"
        assert run("logout", folder=tmp_path).code == 0
    assert "you are not logged in to http://127.0.0.1:8080" in run("logout", folder=tmp_path).err


def test_what_was_given_or_runs_in_the_folder_comes_before_a_login_and_the_login_says_so(
    embedded_server: Client, somebody: Person, at_server: Callable[..., Ran], tmp_path: Path
) -> None:
    data = {"SERVAL_DATA_DIR": str(embedded_server.folder)}
    said = at_server("login", "--email", somebody.email, "--password-stdin", text=PASSWORD, **data)
    assert said.err.startswith("serval: commands here still use the administrator's key in `")
    sources = {
        "admin.key`": at_server("whoami", **data),
        "`SERVAL_KEY`": at_server("whoami", SERVAL_KEY=embedded_server.key),
        "`--key`": at_server("whoami", "--key", embedded_server.key),
        "admin.key` ": at_server("whoami", "--data-dir", embedded_server.folder),
    }
    for source, ran in sources.items():
        assert ran.out.startswith("admin (")
        assert ran.out.rstrip("\n").endswith(source.strip())
    assert at_server("whoami").out.startswith(somebody.username)
    told = at_server("login", "--email", somebody.email, "--password-stdin", text=PASSWORD, SERVAL_KEY="srv_x").err
    assert "still use the key in `SERVAL_KEY`" in told


def test_a_login_that_was_revoked_or_refused_or_is_damaged_says_what_to_do(
    embedded_server: Client, somebody: Person, at_server: Callable[..., Ran], tmp_path: Path
) -> None:
    wrong = at_server(
        "login",
        "--email",
        somebody.email,
        "--password-stdin",
        text="wrong\n",
    )
    assert wrong.code == 4
    assert not logins(tmp_path).exists()
    assert "There is no terminal to ask for it: give `--email`." in at_server("login").err
    assert "give `--password-stdin`" in at_server("login", "--email", "a").err
    logged_in(at_server, somebody.email)
    key_id = json.loads(logins(tmp_path).read_text())[embedded_server.url]["key_id"]
    assert run("key", "revoke", key_id, at=embedded_server, folder=tmp_path).code == 0
    assert at_server("model", "list").err.endswith("Log in again with `serval login`.\n")
    assert at_server("logout").code == 0, "there is nothing to revoke any more"
    logged_in(at_server, somebody.email)
    assert at_server("logout", "--forget").code == 0
    logins(tmp_path).write_text("[]")
    assert "is damaged: delete it and log in again" in at_server("model", "list").err


def test_an_account_ends_with_the_lines_to_run_and_they_work(
    embedded_server: Client, at_server: Callable[..., Ran], tmp_path: Path
) -> None:
    made = run("user", "create", "second@example.com", at=embedded_server, folder=tmp_path).out
    assert made.endswith(f"\n  serval login --url {embedded_server.url} --email second@example.com\n  serval whoami\n")
    (password,) = re.findall("^password: (.+)$", made, re.MULTILINE)
    assert at_server("login", "--email", "second@example.com", "--password-stdin", text=password).code == 0
    assert "second" in at_server("user", "show", "me").out
    assert at_server("user", "update", "me", "--name", "Second Person").out == "second is changed\n"
    assert json.loads(at_server("user", "show", "me", "--json").out)["full_name"] == "Second Person"
    assert "Give `--email` or `--name`." in at_server("user", "update", "me").err
    assert "Only administrators" in at_server("user", "show", "admin").err
    changed = at_server("user", "change-password", text=f"{password}\n{PASSWORD}\n")
    assert changed.out == "the password is changed\n"
    assert log_in(embedded_server, "second@example.com")["access_token"]
    assert run("user", "show", "second@example.com", at=embedded_server, folder=tmp_path).code == 0


def test_keys_are_rotated_and_revoked_by_name_start_or_id_and_ambiguous_names_are_refused(
    embedded_server: Client, somebody: Person, at_server: Callable[..., Ran], tmp_path: Path
) -> None:
    logged_in(at_server, somebody.email)

    def key(*arguments: object, code: int = 0) -> Ran:
        ran = at_server("key", *arguments)
        assert ran.code == code, ran.err
        return ran

    made = key("create", "checkout")
    first = json.loads(key("list", "--json").out)["items"][0]
    assert made.out.strip().startswith(first["prefix"])
    assert f"shown only once; the key is {first['id']} and does not expire" in made.err
    assert first["id"] in key("list").out
    assert f"`checkout` already (`{first['id']}`" in key("create", "checkout", "--days", 1, code=4).err
    key("rotate", "checkout", "--overlap", 60)
    refused = key("revoke", "checkout", code=1).err
    assert "`checkout` names 2 keys: give the id of one, " in refused
    assert first["id"] in refused
    key("revoke", first["prefix"])
    assert key("rotate", "checkout", "--overlap", 60).out.startswith("srv_")
    key("rotate", "checkout", "--overlap", 0)
    assert "names 2 keys" in key("revoke", "checkout", code=1).err, "one is still valid for a minute"
    assert "there is no valid key `nosuch`" in key("revoke", "nosuch", code=1).err
    by_admin = run("key", "revoke", "checkout", "--user", somebody.username, at=embedded_server, folder=tmp_path)
    assert "names 2 keys" in by_admin.err


def test_nobody_creates_a_key_for_another_user_and_is_told_the_way(embedded_server: Client, tmp_path: Path) -> None:
    ran = run("key", "create", "x", "--user", "bob", at=embedded_server, folder=tmp_path)
    assert (ran.code, "Only `bob` can create a key of `bob`" in ran.err) == (2, True)


def test_a_rate_is_shown_with_its_unit(embedded_server: Client, tmp_path: Path) -> None:
    for given, shown in (("100", "100/s"), ("7/min", "7/min"), ("unlimited", "unlimited")):
        ran = run("key", "create", f"rate {given}", "--rate", given, "--json", at=embedded_server, folder=tmp_path)
        assert json.loads(ran.out)["predict_rate"] == shown
    assert re.search(r"rate 100 .* 100/s ", run("key", "list", at=embedded_server, folder=tmp_path).out)
