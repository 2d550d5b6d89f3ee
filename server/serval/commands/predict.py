"""`serval predict`: predicts rows from the command line."""

from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

import rich_click as click

from serval.commands.completion import model_names
from serval.commands.failure import RequestFailed
from serval.commands.output import as_text, say, tables_of
from serval.commands.references import named, with_near_names
from serval.commands.remote import NOT_FOUND, Remote, remote


class PredictCommand(click.RichCommand):
    """Takes negative numbers as values, and refuses all else that looks like an option and is none."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        after = len(args) - args.index("--") - 1 if "--" in args else 0
        left = super().parse_args(ctx, args)
        if ctx.resilient_parsing:  # a line that is still being typed
            return left
        given = [ctx.params["model"], *ctx.params["values"]]
        for text in given[: len(given) - after]:
            if text.startswith("-") and text != "-" and not is_number(text):
                raise self.no_such_option(ctx, text.partition("=")[0])
        return left

    def no_such_option(self, ctx: click.Context, name: str) -> click.NoSuchOption:
        known = [option for parameter in self.get_params(ctx) for option in parameter.opts]
        near = get_close_matches(name, known, n=1)
        hint = f" Did you mean `{near[0]}`?" if near else " Values that begin with - and are no numbers go after `--`."
        return click.NoSuchOption(name, f"No such option: `{name}`.{hint}", ctx=ctx)


INPUT_HELP = "A row or a list of rows as JSON, by name or by position; @FILE reads a file, @- standard input."


def takes_rows(function: Callable[..., None]) -> Callable[..., None]:
    """Adds the model, its rows and a version to a command of the class PredictCommand."""
    parameters = (
        click.argument("model", shell_complete=model_names),
        click.argument("values", nargs=-1, type=click.UNPROCESSED),
        click.option("--input", "body", metavar="JSON", help=INPUT_HELP),
        click.option(
            "--csv",
            "csv_file",
            metavar="FILE",
            type=click.Path(exists=True, dir_okay=False, allow_dash=True),
            help="Rows as CSV; - reads from standard input.",
        ),
        click.option("--version", type=click.IntRange(min=1), help="Version number; by default the live one."),
    )
    for parameter in reversed(parameters):
        function = parameter(function)
    return function


@click.command(cls=PredictCommand, context_settings={"ignore_unknown_options": True})
@takes_rows
@remote
def predict(
    server: Remote, model: str, values: tuple[str, ...], body: str | None, csv_file: str | None, version: int | None
) -> None:
    """Predict with MODEL.

    Pass the VALUES of one row in the order of its columns, or --input, or --csv.
    """
    from serval_client.paths import predict_path

    rows = rows_of(values, body, csv_file)
    try:
        answer = rows.post(server, named(predict_path, model), query_of(version))
    except RequestFailed as error:
        raise error if error.problem.get("status") != NOT_FOUND else with_near_names(server, model, error) from error
    server.show(answer, lambda: print_answer(server, answer))


class Rows(NamedTuple):
    """Rows of the command line, as a body of JSON or as CSV."""

    body: object = None
    csv: bytes | None = None

    def post(self, server: Remote, path: str, query: dict[str, str]) -> Any:
        """Send them; the answer."""
        if self.csv is not None:
            return server.api.post_csv(path, self.csv, query)
        return server.api.post(path, self.body, query)


def query_of(version: int | None) -> dict[str, str]:
    """The query that asks a version; None: the live one."""
    return {} if version is None else {"version": str(version)}


def rows_of(values: tuple[str, ...], body: str | None, csv_file: str | None) -> Rows:
    """The rows that a command was given. Raises UsageError unless they were given exactly once."""
    match (bool(values), body, csv_file):
        case (True, None, None):
            from serval_client.arguments import value_of

            return Rows({"input": [value_of(text) for text in values]})
        case (False, str(), None):
            return Rows(body_of(parsed(text_of(body))))
        case (False, None, str()):
            return Rows(csv=read(csv_file))
    raise click.UsageError("Give exactly one of values, `--input` and `--csv`.")


def text_of(argument: str) -> str:
    """JSON as given, or with `@FILE` that of a file, `@-` of standard input. Raises UsageError."""
    if not argument.startswith("@"):
        return argument
    try:
        return read(argument[1:]).decode()
    except OSError as error:
        raise click.UsageError(
            f"`--input`: `{argument[1:]}` cannot be read: {(error.strerror or '').lower()}."
        ) from error
    except UnicodeDecodeError as error:
        raise click.UsageError(f"`--input`: `{argument[1:]}` is not UTF-8.") from error


def is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def parsed(text: str) -> object:
    import msgspec

    try:
        rows: object = msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise click.UsageError(f"`--input` is not JSON: {error}") from error
    return rows


def body_of(rows: object) -> dict[str, object]:
    """The request body for a row or a list of rows; a complete body stays unchanged."""
    if isinstance(rows, dict) and len(rows) == 1 and next(iter(rows)) in {"input", "inputs", "data", "features"}:
        return rows
    is_list = isinstance(rows, list) and bool(rows) and all(isinstance(row, list | dict) for row in rows)
    return {"inputs" if is_list else "input": rows}


def read(name: str) -> bytes:
    import sys

    return sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()


def print_answer(server: Remote, answer: dict[str, Any]) -> None:
    if "prediction" in answer:
        say(as_text(answer["prediction"]))
        for number, table in enumerate(tables_of(answer), 1):
            if isinstance(answer["prediction"], list):
                say(f"  target {number}")
            for label, probability in table:
                say(f"  {label}: {'null' if probability is None else format(probability, '.6g')}")
        return
    classes, probabilities = answer.get("classes"), answer.get("probabilities")
    if classes is None or probabilities is None:
        for prediction in answer["predictions"]:
            say(as_text(prediction))
        return
    rows = [
        {"prediction": as_text(prediction)} | {f"p{i}": f"{p:.6g}" for i, p in enumerate(row)}
        for prediction, row in zip(answer["predictions"], probabilities, strict=True)
    ]
    server.table(rows, {"prediction": "prediction"} | {f"p{i}": as_text(label) for i, label in enumerate(classes)})
