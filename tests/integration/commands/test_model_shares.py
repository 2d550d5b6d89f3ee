"""Models of others on the command line: shared by address, named `owner/name`, told apart from one's own."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
from sklearn.linear_model import LogisticRegression

from support.command_line import Ran, run
from support.http_client import Client
from support.users import Person, key_of, person

MODEL = pickle.dumps(LogisticRegression().fit([[0.0], [1.0]], ["low", "high"]))


@pytest.fixture(scope="module")
def owned(embedded_server: Client) -> Client:
    """A server with the administrator's model `lent`."""
    assert embedded_server.upload("lent", MODEL).status_code == 201
    return embedded_server


@pytest.fixture
def other(owned: Client) -> Person:
    return person(owned)


@pytest.fixture
def as_other(owned: Client, other: Person, tmp_path: Path) -> Callable[..., Ran]:
    """Runs a command as the other user."""
    key = key_of(owned, other)
    return lambda *arguments: run(*arguments, folder=tmp_path, SERVAL_URL=owned.url, SERVAL_KEY=key)


def test_a_model_is_shared_by_address_listed_and_unshared_by_any_name_of_a_user(
    owned: Client, other: Person, as_other: Callable[..., Ran], tmp_path: Path
) -> None:
    def told(*arguments: object, code: int = 0) -> str:
        ran = run("model", *arguments, at=owned, folder=tmp_path)
        assert ran.code == code, ran.err
        return ran.out or ran.err

    for called in (other.email.upper(), other.username, other.id):
        assert told("share", "lent", called) == f"admin/lent is shared with {other.username} for predict\n"
        assert told("unshare", "lent", called) == f"lent is no longer shared with {called}\n"
    assert "has no share" in told("unshare", "lent", other.email, code=4)
    assert "There is no user" in told("share", "lent", "nobody@example.com", code=4)
    told("share", "lent", other.username, "--permission", "manage")
    heading, row = told("shares", "lent").splitlines()
    assert (heading.split()[:2], row.split()[:2]) == (["user", "permission"], [other.username, "manage"])
    share_id = json.loads(told("shares", "lent", "--json"))["items"][0]["id"]
    assert share_id in row, "ids are never cut"
    told("unshare", "admin/lent", share_id)
    assert told("shares", "lent") == "lent is shared with nobody\n"
    assert "`lent` is not shared with everybody" in told("unshare", "lent", "--everybody", code=1)
    told("share", "lent", "--everybody")
    assert as_other("predict", "admin/lent", 1).out.startswith("high\n")
    told("unshare", "lent", "--everybody")
    assert as_other("predict", "admin/lent", 1).code == 4
    for arguments in (("share", "lent"), ("share", "lent", other.id, "--everybody"), ("unshare", "lent")):
        assert "Give either USER or `--everybody`." in told(*arguments, code=2)


def test_a_shared_model_is_called_the_same_in_lists_commands_and_errors(
    owned: Client, other: Person, as_other: Callable[..., Ran], tmp_path: Path
) -> None:
    assert run("model", "share", "lent", other.email, at=owned, folder=tmp_path).code == 0
    assert as_other("model", "list").out.splitlines()[-1].split()[0] == "admin/lent"
    assert "admin/lent" not in run("model", "list", at=owned, folder=tmp_path).out
    for command in (("show",), ("report",), ("versions",), ("test",)):
        assert as_other("model", *command, "admin/lent").code == 0, command
        own = as_other("model", *command, "lent")
        assert (own.code, "have no model `lent` of your own, but may use `admin/lent`" in own.err) == (4, True)
    assert as_other("predict", "admin/lent", 1).out.startswith("high\n")
    assert as_other("predict", "lent", 1).err.endswith("Did you mean `admin/lent`?\n")
    assert as_other("predict", "admin/lnet", 1).err.endswith("Did you mean `admin/lent`?\n")
    assert "Did you mean `lent`?" in run("predict", "lnet", 1, at=owned, folder=tmp_path).err
    assert "Did you mean" not in run("predict", "lent", 1, "--version", 9, at=owned, folder=tmp_path).err


def test_a_push_says_that_it_made_another_model_than_the_one_that_is_shared(
    owned: Client, other: Person, as_other: Callable[..., Ran], tmp_path: Path
) -> None:
    (tmp_path / "lent.pkl").write_bytes(MODEL)
    push = ("model", "push", "lent.pkl", "--no-expected-answers")
    run("model", "share", "lent", other.email, "--permission", "manage", at=owned, folder=tmp_path)
    said = f"serval: {other.username}/lent is a new model; admin/lent, shared with you for manage, is another"
    assert as_other(*push).err == f"{said}; `--name admin/lent` uploads its next version\n"
    assert as_other(*push).err == "", "its second version is no new model"
    assert as_other(*push, "--name", "admin/lent").out.startswith("lent version 2 is live\n")
    assert as_other("model", "list").out.count("lent") == 2
