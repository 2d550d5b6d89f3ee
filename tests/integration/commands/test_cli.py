"""The command line, as a user runs it."""

import contextlib
import json
import os
import re
import socket
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from serval.commands import demo, demo_models
from serval.commands.failure import HELD, REFUSED, UNREACHABLE, USAGE
from serval.commands.remote import Api, Remote
from serval.settings.settings import Settings
from support import command_line, plain_http
from support.http_client import SERVAL, Client
from support.processes import PYTHON, processes_using, running

Serval = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def server(embedded_server: Client) -> Client:
    return embedded_server


@pytest.fixture
def serval(tmp_path: Path) -> Serval:
    """Runs a command in an empty folder; `at=` names the server that it talks to. What starts servers, or is measured,
    runs as a process; all else in that of the tests."""

    def run(
        *arguments: object, at: Client | None = None, text: str | None = None, **settings: str
    ) -> subprocess.CompletedProcess[str]:
        if arguments[0] not in {"serve", "migrate", "demo", "--help"}:
            ran = command_line.run(*arguments, at=at, folder=tmp_path, text=text, **settings)
            return subprocess.CompletedProcess([*map(str, arguments)], ran.code, ran.out, ran.err)
        environ = {name: value for name, value in os.environ.items() if not name.startswith("SERVAL_")} | settings
        return subprocess.run(
            [SERVAL, *map(str, arguments)],
            cwd=tmp_path,
            env=environ,
            input=text,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


def output(ran: subprocess.CompletedProcess[str]) -> str:
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def refusal(ran: subprocess.CompletedProcess[str], code: int = 1) -> str:
    """The one line on stderr of a command that failed with an exit code."""
    assert ran.returncode == code, ran.stdout
    (line,) = ran.stderr.splitlines()
    return line


def three_points(*, scale: float = 1.0) -> LogisticRegression:
    rows = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]) * scale
    return LogisticRegression().fit(rows, ["low", "low", "high", "high"])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "My Model.joblib"
    joblib.dump(three_points(), path)
    return path


@pytest.fixture(scope="module")
def pushed(server: Client, tmp_path_factory: pytest.TempPathFactory) -> Client:
    path = tmp_path_factory.mktemp("pushed") / "points.joblib"
    joblib.dump(three_points(), path)
    ran = command_line.run("model", "push", path, at=server, folder=path.parent)
    assert ran.code == 0, ran.err
    return server


def test_help_names_every_command_and_imports_nothing_heavy(serval: Serval) -> None:
    text = output(serval("--help"))
    assert all(
        f" {name} " in text
        for name in ("serve", "check", "model", "predict", "key", "user", "demo", "migrate", "diagnose")
    )
    command = "import atexit, sys; atexit.register(lambda: print(*sys.modules)); from serval.commands.cli import main"
    command += "; main(['--help'])"
    loaded = subprocess.run([PYTHON, "-c", command], capture_output=True, text=True, check=True).stdout.split()
    heavy = {"numpy", "sklearn", "litestar", "sqlalchemy", "onnx", "httpx2", "serval_client", "serval._native"}
    assert heavy.intersection(loaded) == set()


@pytest.mark.parametrize(
    "command", ["serve", "check", "model push", "predict", "key create", "key rotate", "demo", "migrate", "diagnose"]
)
def test_every_command_has_a_help_text(serval: Serval, command: str) -> None:
    assert "Usage: serval" in output(serval(*command.split(), "--help"))


def test_every_setting_is_an_option_of_serve(serval: Serval) -> None:
    text = output(serval("serve", "--help", COLUMNS="200"))
    assert "--data-dir" in text
    assert "--drain-pause-seconds" in text


def test_an_unknown_setting_stops_the_start_with_one_line(serval: Serval, tmp_path: Path) -> None:
    line = refusal(serval("serve", SERVAL_PROT="80"))
    assert line == "serval: `SERVAL_PROT` in the environment is not a setting of Serval; did you mean `SERVAL_PORT`?"
    assert list(tmp_path.iterdir()) == []


def test_a_bad_value_stops_the_start_with_one_line(serval: Serval) -> None:
    assert (
        refusal(serval("serve", "--port", "eighty"))
        == "serval: `--port` is `eighty`: expected a whole number from 0 to 65535"
    )


def test_an_unreachable_database_stops_the_start_with_one_line(serval: Serval, tmp_path: Path) -> None:
    url = "postgresql://me:hunter2@127.0.0.1:1/serval"
    line = refusal(serval("serve", "--database-url", url, "--port", "0", "--metrics-port", "0"))
    assert line.startswith("serval: ")
    assert "127.0.0.1:1" in line
    assert "hunter2" not in line
    assert processes_using(tmp_path / "serval-data") == set()


def test_an_unreachable_redis_stops_the_start_with_one_line(serval: Serval) -> None:
    line = refusal(serval("serve", "--redis-url", "redis://127.0.0.1:1/0", "--port", "0", "--metrics-port", "0"))
    assert "127.0.0.1:1" in line


def test_migrate_creates_the_tables_and_reports_when_they_are_up_to_date(serval: Serval) -> None:
    assert output(serval("migrate")).startswith("the tables went from nothing to ")
    assert output(serval("migrate")).startswith("the tables are up to date ")


def test_diagnose_shows_the_settings_with_their_sources_and_the_machine(serval: Serval) -> None:
    found = json.loads(
        output(serval("diagnose", "--json", SERVAL_MAX_ROWS="7", SERVAL_REDIS_URL="redis://:hunter2@host/0"))
    )
    named = {"source": "`SERVAL_MAX_ROWS`", "variable": "SERVAL_MAX_ROWS"}
    assert found["settings"]["max_rows"] == {"value": 7} | named
    assert found["settings"]["port"] == {"value": 8080, "source": "default", "variable": "SERVAL_PORT"}
    values = {name: setting["value"] for name, setting in found["settings"].items()}
    assert [values[name] for name in ("front", "database_url", "cors_origins", "plans", "predict_timeout_seconds")] == [
        True,
        None,
        [],
        {},
        30.0,
    ]
    assert (found["server"]["running"], found["server"]["process"], found["server"]["address"]) == (False, None, None)
    assert "no API key" in found["commands"]["problem"]
    assert "there is no database yet" in found["database"]["problem"]
    assert found["settings"]["redis_url"]["value"] == "redis://:***@host/0"
    assert found["machine"]["cores"] == len(os.sched_getaffinity(0))
    assert {"serval", "python", "onnxruntime", "scikit-learn"} <= set(found["versions"])
    assert found["confinement"]["uploads are confined"].startswith(("yes", "no: "))


def test_diagnose_prints_text(serval: Serval) -> None:
    text = output(serval("diagnose"))
    assert re.search(r"max_rows +10000 +default", text)
    assert re.search(r"max_body_bytes +8 MiB +default", text)
    assert re.search(r"front +true +default", text)
    assert re.search(r"free disk +[\d.]+ GiB\n", text)


def test_diagnose_knows_the_server_of_the_folder(serval: Serval, server: Client) -> None:
    data = {"SERVAL_DATA_DIR": str(server.folder)}
    found = json.loads(output(serval("diagnose", "--json", **data)))
    assert found["server"]["running"] is True
    assert found["server"]["process"] == server.process.popen.pid
    assert found["server"]["address"] == server.url == found["commands"]["address"]
    assert found["server"]["administrator's key"] == str(server.folder / "admin.key")
    assert found["commands"]["key from"] == f"`{server.folder / 'admin.key'}`"
    assert server.key not in json.dumps(found)
    database = found["database"]
    assert (database["problem"], database["schema version"]) == (None, database["schema version needed"])
    listed = server.http.get("/api/v1/models").json()["items"]
    live = sum(model["live_version"] is not None for model in listed)
    assert (database["models"], database["models that are live"]) == (len(listed), live)
    assert database["versions"] >= live
    text = output(serval("diagnose", at=server, **data))
    assert re.search(rf"address +{server.url}\n", text)
    assert re.search(r"key from +`SERVAL_KEY`\n", text)


def test_an_unreachable_server_is_one_line_with_a_way_out(serval: Serval) -> None:
    line = refusal(serval("model", "list", "--url", "http://127.0.0.1:1", "--key", "k"), UNREACHABLE)
    assert line.startswith("serval: http://127.0.0.1:1 does not answer")
    assert "`serval serve`" in line


def test_a_missing_key_is_one_line_with_a_way_out(serval: Serval) -> None:
    assert "`--key`" in refusal(serval("model", "list"))


def test_the_admin_key_is_read_from_the_data_folder(serval: Serval, server: Client) -> None:
    assert "first key" in output(serval("key", "list", "--url", server.url, "--data-dir", server.folder))


def test_a_key_is_created_listed_and_revoked(serval: Serval, server: Client) -> None:
    made = json.loads(output(serval("key", "create", "of a test", "--json", at=server)))
    assert output(serval("model", "list", "--url", server.url, "--key", made["key"])) is not None
    assert made["id"] in output(serval("key", "list", at=server))
    assert output(serval("key", "revoke", made["id"], at=server)) == f"{made['id']} is revoked\n"
    refusal(serval("model", "list", "--url", server.url, "--key", made["key"]), REFUSED)


def test_a_restricted_key_is_created_and_rotated(serval: Serval, pushed: Client) -> None:
    limits = ("--scope", "predict", "--model", "points", "--expires-in-days", "3", "--rate", "100/min", "--quota", "7")
    made = json.loads(output(serval("key", "create", "narrow", *limits, "--json", at=pushed)))
    model_id = pushed.http.get("/api/v1/models/points").json()["id"]
    assert [made[member] for member in ("scopes", "models", "predict_rate", "monthly_quota")] == [
        ["predict"],
        [model_id],
        "100/min",
        7,
    ]
    new = output(serval("key", "rotate", made["id"], "--overlap", "0", at=pushed)).strip()
    assert new.startswith("srv_")
    assert new != made["key"]
    listed = json.loads(output(serval("key", "list", "--user", "admin", "--json", at=pushed)))["items"]
    assert next(item for item in listed if item["id"] == made["id"])["replaced_by"] in {item["id"] for item in listed}
    assert "already rotated" in refusal(serval("key", "rotate", made["id"], at=pushed), REFUSED)
    assert "no scope" in refusal(serval("key", "create", "odd", "--scope", "everything", at=pushed), REFUSED)


def test_push_sends_expected_answers_and_shows_the_report(serval: Serval, server: Client, file: Path) -> None:
    text = output(serval("model", "push", file, at=server))
    assert text.startswith("my-model version 1 is live\nLogisticRegression, converted in ")
    assert re.search(r"rows with an expected answer: 100\.00% agree", text)
    assert "curl " in text


def test_push_does_not_release_a_model_of_a_version_that_did_not_compute_its_answers(
    serval: Serval, server: Client, file: Path, tmp_path: Path
) -> None:
    other, own = b"2.0.0", sklearn.__version__.encode()
    old = tmp_path / "old.pkl"
    old.write_bytes(file.read_bytes().replace(own, other[: len(own)]))
    checked = serval("check", old)
    assert (checked.returncode, "would not make it live" in checked.stdout) == (HELD, True), "one verdict"
    ran = serval("model", "push", old, "--name", "from-elsewhere", at=server)
    assert ran.returncode == HELD, ran.stderr
    text = ran.stdout
    assert "not live: Saved with scikit-learn 2.0.0" in text
    assert f"scikit-learn {sklearn.__version__} computed them" in text


def test_push_names_the_columns_of_a_model_without_names(serval: Serval, server: Client, file: Path) -> None:
    names = ("--name", "with-names", "--columns", "height, weight")
    version = json.loads(output(serval("model", "push", file, *names, "--json", at=server)))
    assert version["is_live"]
    assert '{"height":' in version["curl"]
    assert version["report"]["expected_rows"] > 0


def test_push_without_expected_answers_does_not_load_the_file(serval: Serval, server: Client, file: Path) -> None:
    version = json.loads(
        output(serval("model", "push", file, "--name", "as-it-is", "--no-expected-answers", "--json", at=server))
    )
    assert version["is_live"]
    assert version["report"]["expected_rows"] == 0


def test_push_takes_the_rows_of_a_table(serval: Serval, server: Client, file: Path, tmp_path: Path) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text("x0,x1\n0.2,0.1\n0.9,0.8\n")
    version = json.loads(
        output(serval("model", "push", file, "--name", "with-rows", "--sample", rows, "--json", at=server))
    )
    assert (version["report"]["expected_rows"], version["report"]["expected_agreement"]) == (2, 1.0)


def test_push_of_a_file_that_is_not_a_model_is_one_line_that_names_its_kind(
    serval: Serval, server: Client, tmp_path: Path
) -> None:
    path = tmp_path / "table.pkl"
    path.write_text("a,b\n1,2\n")
    for options in (["--no-expected-answers"], []):
        assert "CSV table" in refusal(serval("model", "push", path, *options, at=server), REFUSED)


def test_models_are_listed_and_shown(serval: Serval, pushed: Client) -> None:
    assert re.search(r"^points +1 ", output(serval("model", "list", at=pushed)), re.MULTILINE)
    assert (
        json.loads(output(serval("model", "show", "points", "--json", at=pushed)))["versions"][0]["status"] == "ready"
    )
    assert "points" in output(serval("model", "show", "points", at=pushed))


def test_a_report_is_shown(serval: Serval, pushed: Client) -> None:
    assert "rows verified: all agree" in output(serval("model", "report", "points", at=pushed))


def test_predict_takes_negative_values_in_order(serval: Serval, pushed: Client) -> None:
    lines = output(serval("predict", "points", "-0.5", "1", at=pushed)).splitlines()
    assert lines[0] == "high"
    assert lines[1].startswith("  high: 0.")


def test_predict_takes_json_rows(serval: Serval, pushed: Client) -> None:
    answer = json.loads(output(serval("predict", "points", "--input", "[[0, 0], [0, 2]]", "--json", at=pushed)))
    assert answer["predictions"] == ["low", "high"]


def test_predict_takes_csv_from_standard_input(serval: Serval, pushed: Client) -> None:
    text = output(serval("predict", "points", "--csv", "-", at=pushed, text="x0,x1\n0,0\n0,2\n"))
    assert [line.split()[0] for line in text.splitlines()[-2:]] == ["low", "high"]


def test_a_refused_request_prints_the_message_of_the_server(serval: Serval, pushed: Client) -> None:
    assert "nobody" in refusal(serval("predict", "nobody", "1", at=pushed), REFUSED)


def test_predict_refuses_values_together_with_input(serval: Serval, pushed: Client) -> None:
    assert "`--input`" in refusal(serval("predict", "points", "1", "--input", "[1]", at=pushed), USAGE)


def test_check_shows_what_is_in_a_file_and_that_it_converts(serval: Serval, file: Path) -> None:
    text = output(serval("check", file))
    assert text.startswith("joblib: LogisticRegression")
    assert "2 labels: high, low" in text
    assert "\n2 columns without names: `--columns` names them, in their order\n" in text
    assert "\n2 columns: height, weight\n" in output(serval("check", file, "--columns", "height,weight"))
    assert "It converts" in text


def test_check_of_a_dict_that_holds_a_model_shows_what_to_save(serval: Serval, tmp_path: Path) -> None:
    path = tmp_path / "dict.joblib"
    joblib.dump({"model": three_points(), "score": 1.0}, path)
    ran = serval("check", path)
    assert ran.returncode == REFUSED
    assert "saved['model']" in ran.stdout


def test_check_joins_a_model_and_its_scaler_into_a_file_that_converts(serval: Serval, tmp_path: Path) -> None:
    rows = np.array([[1.0, 200.0], [2.0, 100.0], [3.0, 300.0], [4.0, 400.0]])
    scaler = StandardScaler().fit(rows)
    model = LogisticRegression().fit(scaler.transform(rows), ["low", "low", "high", "high"])
    joblib.dump({"model": model, "scaler": scaler}, tmp_path / "two.joblib")
    assert "It converts" in output(serval("check", tmp_path / "two.joblib", "--join", tmp_path / "one.pkl"))
    joined = joblib.load(tmp_path / "one.pkl")
    assert joined.predict(rows).tolist() == model.predict(scaler.transform(rows)).tolist()
    again = serval("check", tmp_path / "two.joblib", "--join", tmp_path / "one.pkl")
    assert again.returncode == 1
    assert "File exists" in again.stderr


def test_check_writes_nothing_where_there_is_nothing_to_join(serval: Serval, tmp_path: Path, file: Path) -> None:
    assert "nothing to join" in refusal(serval("check", file, "--join", tmp_path / "one.pkl"))
    assert not (tmp_path / "one.pkl").exists()


def test_check_prints_json_for_programs(serval: Serval, tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    pd.DataFrame({"a": [1, 2], "b": [3, 4]}).to_csv(path, index=False)
    ran = serval("check", path, "--json")
    assert ran.returncode == REFUSED
    found = json.loads(ran.stdout)
    assert not found["converts"]
    assert "CSV table" in found["reason"]


def test_a_served_file_answers_as_shown_and_is_read_again_when_it_changes(tmp_path: Path, serval: Serval) -> None:
    path = tmp_path / "points.joblib"
    joblib.dump(three_points(), path)
    settings = {"SERVAL_PORT": "0", "SERVAL_LOG_FORMAT": "json"}
    with closed_default_metrics_port(), running([SERVAL, "serve", str(path)], settings, cwd=tmp_path) as process:
        process.ready()
        assert process.told("metrics_port_in_use")["instead"] == process.told("ready")["metrics_port"]
        process.told("conversion_ended")
        first = ask(process.port, (tmp_path / "serval-data" / "admin.key").read_text().strip())
        assert output(serval("predict", "points", "0", "2")).startswith("high\n"), "it finds the server and its key"
        joblib.dump(three_points(scale=100.0), path)
        process.until("conversion_ended")
        assert output(serval("predict", "points", "0", "2")).startswith("low\n")
        process.send(15)
        assert process.ended() == 0
    shown = process.errors.decode()
    assert (first["prediction"], first["model_version"]) == ("high", 1)
    assert "key      serval-data/admin.key\n" in shown
    assert shown.count("Ctrl-C stops the server.\n") == 2
    with running([SERVAL, "serve", str(path)], settings | {"SERVAL_PORT": str(process.port)}, cwd=tmp_path) as again:
        again.ready()
        again.until_line("request", endpoint="/api/v1/models/{model}/versions/{number}")
        (line,) = [line for line in shown.splitlines() if line.startswith("example  curl ")][:1]
        answer = subprocess.run(
            ["/bin/sh", "-c", line.removeprefix("example  ")], cwd=tmp_path, capture_output=True, check=True, timeout=60
        )
        versions = json.loads(output(serval("model", "show", "points", "--json")))["versions"]
    assert "Ctrl-C stops the server." in again.errors.decode()
    assert json.loads(answer.stdout)["model"] == "points", "the line that was printed can be pasted"
    assert [version["version"] for version in versions] == [2, 1], "the same file makes no further version"


@contextlib.contextmanager
def closed_default_metrics_port() -> Iterator[None]:
    """The default port for metrics is in use, by this test or by another program."""
    with socket.socket() as taken:
        with contextlib.suppress(OSError):
            taken.bind(("127.0.0.1", Settings().metrics_port))
            taken.listen()
        yield


def test_a_served_file_that_is_no_model_ends_the_server_with_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "notes.pkl"
    path.write_text("a,b\n1,2\n")
    settings = {"SERVAL_PORT": "0", "SERVAL_LOG_FORMAT": "json", "TMPDIR": str(tmp_path)}
    with running([SERVAL, "serve", str(path)], settings, cwd=tmp_path) as process:
        assert process.ended() == 1
        assert b"CSV table" in process.errors


def ask(port: int, key: str) -> dict[str, Any]:

    answer = plain_http.post(
        f"http://127.0.0.1:{port}/api/v1/predict/points", json={"input": [0.0, 2.0]}, headers={"X-API-Key": key}
    )
    found: dict[str, Any] = answer.json()
    return found


def test_a_model_of_the_demo_passes_every_check(
    server: Client, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checks = demo.Checks()
    with contextlib.closing(Api(server.url, server.key)) as api:
        demo.show(Remote(api, as_json=False), replace(demo_models.iris(), name="demo-of-a-test"), tmp_path, checks)
    assert (checks.failed, checks.passed) == ([], 6)
    text = capsys.readouterr().out
    assert "45 of 45 held-out rows are answered as scikit-learn answers them" in text
    assert "cache_hit true" in text


@pytest.mark.slow
def test_the_demo_ends_with_every_check_passed(serval: Serval) -> None:
    text = output(serval("demo"))
    assert text.count("held-out rows are answered as scikit-learn answers them") == 3
    assert "cache_hit true" in text
    assert "0 failed" in text
