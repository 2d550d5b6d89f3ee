"""`serval-client`: push a model and predict, from the command line."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from serval_client.answers import Predictions
from serval_client.arguments import name_from, value_of
from serval_client.client import Client
from serval_client.errors import RequestFailed, ServalError, Unavailable, Unreachable
from serval_client.registry import Version

DONE, FAILED, MISUSED, HELD, REFUSED, UNREACHABLE, INTERRUPTED = 0, 1, 2, 3, 4, 5, 130
"""Exit codes, the same as those of the server's own command line."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit code."""
    given = parser().parse_args(arguments)
    try:
        with Client(given.url, given.key) as client:
            code: int = given.run(client, given)
            return code
    except ServalError as error:
        if given.json and isinstance(error, RequestFailed):
            write(as_json(error.problem))
        return told(error, UNREACHABLE if isinstance(error, (Unreachable, Unavailable)) else REFUSED)
    except KeyboardInterrupt:
        return told("interrupted; what was uploaded is converted all the same", INTERRUPTED)
    except (OSError, ValueError, TypeError, ImportError) as error:
        return told(error, FAILED)


def parser() -> argparse.ArgumentParser:
    commands = argparse.ArgumentParser(prog="serval-client", description="Push models to a Serval server, and predict.")
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--url", help="address of the server; SERVAL_URL, or http://127.0.0.1:8080")
    shared.add_argument("--key", help="API key; SERVAL_KEY")
    shared.add_argument("--json", action="store_true", help="print JSON, for programs")
    each = commands.add_subparsers(required=True, metavar="COMMAND")

    pushing = each.add_parser("push", parents=[shared], help="upload a model and wait until it is served")
    pushing.add_argument("file", metavar="FILE", help="a fitted model, saved by pickle, joblib or skops")
    pushing.add_argument("--name", help="name of the model; by default made from the file's name")
    pushing.add_argument("--description", help="description of the model")
    pushing.add_argument("--sample", metavar="FILE", help="rows that the model predicts here, as CSV or JSON")
    pushing.add_argument("--no-expected-answers", action="store_true", help="do not load the model here")
    pushing.add_argument("--allow-schema-change", action="store_true", help="go live even if its columns differ")
    pushing.set_defaults(run=push)

    predicting = each.add_parser("predict", parents=[shared], help="predict with a model")
    predicting.add_argument("model", metavar="MODEL", help="its name, its id, or OWNER/NAME")
    rows = predicting.add_mutually_exclusive_group(required=True)
    rows.add_argument("values", metavar="VALUE", nargs="*", default=[], help="one row, in the order of its columns")
    rows.add_argument(
        "--input", metavar="JSON", type=json_value, help="a row or a list of rows, by name or by position"
    )
    rows.add_argument("--csv", metavar="FILE", type=Path, help="rows as CSV")
    predicting.add_argument("--probabilities", action="store_true", help="the probability of each class too")
    predicting.add_argument("--version", type=int, help="number of the version; by default the live one")
    predicting.set_defaults(run=predict)
    return commands


def push(client: Client, given: argparse.Namespace) -> int:
    version = client.models.push(
        Path(given.file),
        name=given.name or name_from(given.file),
        sample=None if given.sample is None else Path(given.sample),
        expected_answers=not given.no_expected_answers,
        description=given.description,
        allow_schema_change=given.allow_schema_change,
    )
    write(as_json(version) if given.json else text_of(version))
    return DONE if version.is_live else HELD


def predict(client: Client, given: argparse.Namespace) -> int:
    answer = client.predict(given.model, rows_given(given), probabilities=given.probabilities, version=given.version)
    write(as_json(answer) if given.json else "\n".join(lines_of(answer)))
    return DONE


def rows_given(given: argparse.Namespace) -> Any:
    if given.csv is not None:
        return given.csv
    return [value_of(text) for text in given.values] if given.input is None else given.input


def json_value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"not JSON: {error}") from None


def text_of(version: Version) -> str:
    where = f"{version.model} version {version.version}"
    return f"{where} is live: {version.predict_url}" if version.is_live else f"{where} is held: {version.held}"


def lines_of(answer: Predictions) -> list[str]:
    """A line for each row: the prediction, and the probabilities in the order of the classes."""
    if answer.probabilities is None:
        return [json.dumps(prediction) for prediction in answer]
    pairs = zip(answer, answer.probabilities)
    return [f"{json.dumps(prediction)}  {json.dumps(probabilities)}" for prediction, probabilities in pairs]


def as_json(result: Any) -> str:
    return msgspec.json.encode(result).decode()


def write(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def told(error: object, code: int) -> int:
    sys.stderr.write(f"serval-client: {error}\n")
    return code
