"""What commands take and refuse, and how they fail: exit codes, and problem documents for programs."""

import json
import pickle
import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from sklearn.linear_model import LogisticRegression

from support.command_line import Ran, run
from support.http_client import Client


@pytest.fixture(scope="module")
def asked(embedded_server: Client) -> Client:
    """A server with the model `options`, of two numbers."""
    model = LogisticRegression().fit([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], ["low", "low", "high", "high"])
    assert embedded_server.upload("options", pickle.dumps(model)).status_code == 201
    return embedded_server


def usage_error(ran: Ran) -> str:
    """The one line of a command that was used wrongly."""
    assert (ran.code, ran.out) == (2, "")
    (line,) = ran.err.splitlines()
    return line


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--jsn", "1", "2"], "No such option: `--jsn`. Did you mean `--json`?"),
        (["1", "2", "--verison", "1"], "No such option: `--verison`. Did you mean `--version`?"),
        (["1", "2", "--verison=1"], "No such option: `--verison`. Did you mean `--version`?"),
        (["-x", "1"], "No such option: `-x`. Values that begin with - and are no numbers go after `--`."),
        ([], "Give exactly one of values, `--input` and `--csv`."),
        (["1", "2", "--key", ""], "`--key` is empty."),
        (["1", "2", "--url", ""], "`--url` is empty."),
        (["1", "2", "--url", "ftp://host"], "`ftp://host` is no address of a server"),
    ],
)
def test_what_predict_does_not_take_is_a_usage_error(
    asked: Client, tmp_path: Path, arguments: list[str], told: str
) -> None:
    assert told in usage_error(run("predict", "options", *arguments, at=asked, folder=tmp_path))


def test_negative_numbers_are_values_and_anything_is_one_after_two_dashes(asked: Client, tmp_path: Path) -> None:
    assert run("predict", "options", "-1e1", "-.5", at=asked, folder=tmp_path).code == 4, "-.5 is no JSON number"
    assert run("predict", "options", "-0.5", "2", at=asked, folder=tmp_path).out.startswith("high\n")
    refused = run("predict", "options", "--", "--plan", "a", at=asked, folder=tmp_path)
    assert (refused.code, '"--plan"' in refused.err) == (4, True)


def test_the_administrators_key_goes_to_no_other_machine_by_itself(asked: Client, tmp_path: Path) -> None:
    elsewhere = {"SERVAL_URL": "http://serval.invalid:8080", "SERVAL_DATA_DIR": str(asked.folder)}
    told = usage_error(run("model", "list", folder=tmp_path, **elsewhere))
    assert told.startswith("serval: no API key for `serval.invalid`: log in with `serval login`, or give a key")
    assert run("model", "list", "--key", "k", folder=tmp_path, **elsewhere).code == 5
    told = usage_error(run("model", "list", "--data-dir", asked.folder, folder=tmp_path, **elsewhere))
    assert f"only to the server that runs in its folder (that is {asked.url})" in told
    nearby = {"SERVAL_URL": asked.url, "SERVAL_DATA_DIR": str(asked.folder)}
    assert run("model", "list", folder=tmp_path, **nearby).code == 0
    by_name = asked.url.replace("127.0.0.1", "localhost")
    told = run("whoami", "--url", by_name, folder=tmp_path, **nearby).out
    assert f"server  {asked.url}" in told.splitlines()


@pytest.mark.parametrize("is_address_left", [True, False])
def test_the_administrators_key_goes_to_nothing_else_on_this_machine(tmp_path: Path, *, is_address_left: bool) -> None:
    folder = tmp_path / "serval-data"
    folder.mkdir()
    (folder / "admin.key").write_text("srv_secret\n")
    (folder / "serval.lock").write_text("1\n")
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"http://127.0.0.1:{other.getsockname()[1]}"
        if is_address_left:
            (folder / "address").write_text(f"{address}\n")
        asking = usage_error(run("model", "list", "--url", address, folder=tmp_path))
        assert (
            "`serval-data/admin.key` is sent by itself only to the server that runs in its folder (none runs" in asking
        )
        usage_error(run("model", "list", "--url", address, "--data-dir", folder, folder=tmp_path))
        for data in ([], ["--data-dir", folder]):
            alone = run("model", "list", *data, folder=tmp_path)
            assert (alone.code, "start it with `serval serve`, or name a server with `--url`" in alone.err) == (1, True)
        other.setblocking(False)
        with pytest.raises(BlockingIOError):
            other.accept()


def test_a_proxy_of_the_environment_never_sees_a_request_to_this_machine(asked: Client, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        address = f"http://127.0.0.1:{proxy.getsockname()[1]}"
        assert run("model", "list", at=asked, folder=tmp_path, HTTP_PROXY=address, http_proxy=address).code == 0
        proxy.setblocking(False)
        with pytest.raises(BlockingIOError):
            proxy.accept()


def test_what_is_no_serval_server_is_named(tmp_path: Path) -> None:
    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(502 if "keys" in self.path else 200)
            self.end_headers()
            self.wfile.write(b"<html>")

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Page) as web:
        threading.Thread(target=web.serve_forever, daemon=True).start()
        address = {"SERVAL_URL": f"http://127.0.0.1:{web.server_port}", "SERVAL_KEY": "k"}
        page = run("model", "list", folder=tmp_path, **address)
        assert (page.code, "is it a Serval server?" in page.err) == (4, True)
        assert run("key", "list", folder=tmp_path, **address).code == 5
        web.shutdown()


def test_a_variable_that_is_set_to_nothing_is_not_the_administrator(asked: Client, tmp_path: Path) -> None:
    told = usage_error(run("model", "list", "--data-dir", asked.folder, folder=tmp_path, SERVAL_KEY=""))
    assert told.startswith("serval: `SERVAL_KEY` is set and empty")
    assert "`SERVAL_URL`" in usage_error(run("model", "list", "--key", "k", folder=tmp_path, SERVAL_URL=""))
    (tmp_path / "m.pkl").write_bytes(b"")
    assert "`--name` is empty" in usage_error(run("model", "push", "m.pkl", "--name", "", at=asked, folder=tmp_path))


def test_an_address_needs_no_scheme_and_a_wrong_path_is_named(asked: Client, tmp_path: Path) -> None:
    host = asked.url.removeprefix("http://")
    assert run("model", "list", folder=tmp_path, SERVAL_URL=host, SERVAL_KEY=asked.key).code == 0
    lost = run("model", "list", "--url", f"{asked.url}/api", at=asked, folder=tmp_path)
    assert lost.code == 4
    assert "`--url` has the path `/api`" in lost.err


def test_a_command_finds_the_server_of_a_data_folder_and_its_key(asked: Client, tmp_path: Path) -> None:
    assert run("predict", "options", "0", "2", "--data-dir", asked.folder, folder=tmp_path).out.startswith("high\n")
    (tmp_path / "serval-data").symlink_to(asked.folder)
    assert run("predict", "options", "0", "2", folder=tmp_path).out.startswith("high\n")


@pytest.mark.parametrize(
    ("arguments", "code", "document"),
    [
        (["model", "show", "nosuch"], 4, {"code": "not_found", "status": 404}),
        (["model", "list", "--url", "127.0.0.1:1"], 5, {"code": "unreachable"}),
        (["predict", "options"], 2, {"code": "usage", "title": "Wrong usage"}),
        (["model", "show"], 2, {"code": "usage"}),
        (["srve"], 2, {"code": "usage"}),
        (["check", "nosuch.pkl"], 2, {"code": "usage"}),
    ],
)
def test_an_error_is_a_problem_document_for_programs(
    asked: Client, tmp_path: Path, arguments: list[str], code: int, document: dict[str, Any]
) -> None:
    ran = run(*arguments, "--json", at=asked, folder=tmp_path)
    assert ran.code == code
    found = json.loads(ran.out)
    assert document.items() <= found.items()
    assert found["detail"] in ran.err


def test_parts_of_a_request_that_are_wrong_are_named_once_each(asked: Client, tmp_path: Path) -> None:
    told = run("predict", "options", "a", "b", at=asked, folder=tmp_path).err
    assert told == 'serval: input[0]: expected a number, got "a"; input[1]: expected a number, got "b"\n'


def test_a_misspelt_command_is_told_which_is_near(tmp_path: Path) -> None:
    assert "No such command: `srve`. Did you mean `serve`?" in usage_error(run("srve", folder=tmp_path))


@pytest.mark.parametrize(
    "arguments",
    [
        ["predict", "options", "--input", '{"incme": 1, "plam": 2}'],
        ["predict", "options", "a", "b"],
        ["key", "create", "odd", "--scope", "predct"],
        ["key", "create", "odd", "--rate", "fast"],
        ["user", "create", "notmail"],
        ["model", "share", "options", "--everybody", "--permission", "manage"],
    ],
    ids=lambda arguments: " ".join(arguments[:2]) + f" {arguments[-1]}",
)
def test_a_refusal_is_one_sentence_of_one_voice(asked: Client, tmp_path: Path, arguments: list[str]) -> None:
    ran = run(*arguments, at=asked, folder=tmp_path)
    assert (ran.code, len(ran.err.splitlines())) == (4, 1), ran.err
    assert not any(sign in ran.err for sign in (".;", "see `errors`", "TypeError"))
    words = ran.err.removeprefix("serval: ").strip().split("; ")
    assert len(set(words)) == len(words), "nothing is said twice"
