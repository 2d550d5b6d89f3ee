"""`serval demo`: real models on real data, from training to a prediction, with every step shown and checked."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import rich_click as click

from serval.commands.push import Upload, send
from serval.commands.remote import Api, Remote
from serval.commands.reports import print_report
from serval.errors import CannotStart
from serval.process.locks import listen
from serval.process.parent_death import bound_to_parent

START_SECONDS = 60.0
HELD_OUT_SHARE = 0.3


@dataclass(frozen=True)
class Trained:
    """A fitted model, and rows that it has not seen."""

    name: str
    story: str
    model: Any
    rows: list[Any]
    """Held-out rows as JSON: lists, or objects by column name."""
    answers: list[Any]
    """What the fitted model itself answers for them."""


@dataclass
class Checks:
    """What was expected and did not come."""

    failed: list[str] = field(default_factory=list)
    passed: int = 0

    def that(self, is_right: bool, what: str) -> None:
        if is_right:
            self.passed += 1
        else:
            self.failed.append(what)
            click.secho(f"  wrong: {what}", fg="red")


def run_demo() -> int:
    """Show everything once; on a terminal leave the server running until Ctrl-C. Returns the exit code of the
    checks."""
    with tempfile.TemporaryDirectory(prefix="serval-demo-") as folder, server_in(Path(folder)) as url:
        checks = Checks()
        key_file = Path(folder) / "data" / "admin.key"
        here = Remote(Api(url, key_file.read_text(encoding="ascii").strip()), as_json=False)
        heading(f"Serval answers at {url}")
        click.echo(f"export SERVAL_URL={url} SERVAL_KEY=$(cat {key_file})")
        for trained in (iris(), breast_cancer(), penguins()):
            show(here, trained, Path(folder), checks)
        heading(f"{checks.passed} checks passed, {len(checks.failed)} failed")
        if sys.stdin.isatty() and sys.stdout.isatty():
            click.echo(f"The server is running until Ctrl-C; its interface is documented at {url}/docs")
            wait_for_interrupt()
    return 1 if checks.failed else 0


def show(here: Remote, trained: Trained, folder: Path, checks: Checks) -> None:
    """Upload a model, print its report, ask it, and compare."""
    import joblib

    heading(f"{trained.name}: {trained.story}")
    file = folder / f"{trained.name}.joblib"
    joblib.dump(trained.model, file)
    click.echo(f"$ serval model push {file}")
    began = time.perf_counter()
    version = send(here, Upload(file))
    click.echo(f"live after {time.perf_counter() - began:.1f} s")
    print_report(version)
    checks.that(version["is_live"], f"{trained.name} is live")
    ask_by_curl(here, trained, version, checks)
    compare(here, trained, checks)


def ask_by_curl(here: Remote, trained: Trained, version: dict[str, Any], checks: Checks) -> None:
    """The same line twice: the second answer comes from the cache."""
    line = curl_line(version["predict_url"], trained.rows[0])
    click.echo(f"$ {line}")
    for is_second in (False, True):
        answer = answer_of(here, line, trained, version)
        click.echo(
            f"  prediction {answer['prediction']!r}, cache_hit {str(answer['cache_hit']).lower()}, {answer['latency_ms']:.3f} ms"
        )
        checks.that(
            answer["prediction"] == trained.answers[0],
            f"{trained.name} answers {trained.answers[0]!r} for its first held-out row",
        )
        checks.that(answer["cache_hit"] is is_second, f"{trained.name} answers from the cache only the second time")


def curl_line(url: str, row: Any) -> str:
    import msgspec

    body = msgspec.json.encode({"input": row}).decode()
    return f"curl -s {url} -H \"X-API-Key: $SERVAL_KEY\" -H 'Content-Type: application/json' -d '{body}'"


def answer_of(here: Remote, line: str, trained: Trained, version: dict[str, Any]) -> dict[str, Any]:
    """Run the line as it was printed; without curl on this machine, ask the same over HTTP."""
    import msgspec

    if shutil.which("curl") is None:
        answer: dict[str, Any] = here.api.post(version["predict_url"], {"input": trained.rows[0]})
        return answer
    ran = subprocess.run(
        ["/bin/sh", "-c", line], env=os.environ | {"SERVAL_KEY": here.api.key}, capture_output=True, check=True
    )
    decoded: dict[str, Any] = msgspec.json.decode(ran.stdout)
    if "prediction" not in decoded:
        raise CannotStart(f"{trained.name} gave no prediction: {ran.stdout.decode()}")
    return decoded


def compare(here: Remote, trained: Trained, checks: Checks) -> None:
    """All held-out rows in one request, against what the fitted model itself answers."""
    answer = here.api.post(f"/api/v1/predict/{trained.name}", {"inputs": trained.rows})
    same = sum(ours == theirs for ours, theirs in zip(answer["predictions"], trained.answers, strict=True))
    click.echo(f"{same} of {len(trained.rows)} held-out rows are answered as scikit-learn answers them")
    checks.that(same == len(trained.rows), f"{trained.name} answers all held-out rows like the original")


def iris() -> Trained:
    from sklearn.datasets import load_iris
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import train_test_split
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    data = load_iris()
    labels = data.target_names[data.target]
    seen, unseen, truth, _ = train_test_split(data.data, labels, test_size=HELD_OUT_SHARE, random_state=0)
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)).fit(seen, truth)
    return Trained(
        "iris",
        "a scaler and a logistic regression on plain arrays",
        model,
        unseen.tolist(),
        model.predict(unseen).tolist(),
    )


def breast_cancer() -> Trained:
    from sklearn.datasets import load_breast_cancer
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.model_selection import train_test_split

    data = load_breast_cancer(as_frame=True)
    seen, unseen, truth, _ = train_test_split(data.data, data.target, test_size=HELD_OUT_SHARE, random_state=0)
    model = RandomForestClassifier(n_estimators=100, random_state=0).fit(seen, truth)
    rows = unseen.to_dict("records")
    return Trained(
        "breast-cancer", "a random forest on a table of 30 columns", model, rows, model.predict(unseen).tolist()
    )


def penguins() -> Trained:
    from palmerpenguins import load_penguins
    from sklearn.compose import ColumnTransformer
    from sklearn.ensemble import GradientBoostingClassifier
    from sklearn.impute import SimpleImputer
    from sklearn.model_selection import train_test_split
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    table = load_penguins()
    columns, text = table.drop(columns="species"), ["island", "sex"]
    numbers = [column for column in columns if column not in text]
    seen, unseen, truth, _ = train_test_split(columns, table.species, test_size=HELD_OUT_SHARE, random_state=0)
    prepare = ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), numbers),
            (
                "text",
                make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore")),
                text,
            ),
        ]
    )
    model = make_pipeline(prepare, GradientBoostingClassifier(random_state=0)).fit(seen, truth)
    story = "strings and missing values through a ColumnTransformer into boosted trees"
    return Trained("penguins", story, model, without_nan(unseen.to_dict("records")), model.predict(unseen).tolist())


def without_nan(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Missing values as JSON writes them."""
    return [{name: None if value != value else value for name, value in row.items()} for row in rows]  # noqa: PLR0124 NaN alone differs from itself


@contextmanager
def server_in(folder: Path) -> Iterator[str]:
    """A server of its own in a folder; its URL. Raises CannotStart with what it said."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    log_file = folder / "server.log"
    options = [
        "--data-dir",
        str(folder / "data"),
        "--port",
        str(port),
        "--metrics-port",
        "0",
        "--drain-pause-seconds",
        "0",
    ]
    with log_file.open("wb") as log:
        command = bound_to_parent([sys.executable, "-m", "serval.commands.cli", "serve", *options])
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        wait_until_ready(process, url, log_file)
        yield url
    finally:
        process.terminate()
        process.wait()


def free_port() -> int:
    """8080 if nobody has it."""
    try:
        with listen("127.0.0.1", 8080, flag="--port"):
            return 8080
    except CannotStart:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            return int(probe.getsockname()[1])


def wait_until_ready(process: subprocess.Popen[bytes], url: str, log_file: Path) -> None:
    import httpx2

    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            if httpx2.get(f"{url}/health/ready").is_success:
                return
        except httpx2.TransportError:
            pass
        time.sleep(0.05)
    raise CannotStart(f"the server did not start:\n{log_file.read_text(errors='replace')}")


def heading(text: str) -> None:
    click.secho(f"\n{text}", bold=True)


def wait_for_interrupt() -> None:
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        click.echo("\nstopping")
