"""`serval model test`: asks a version before or while it is live."""

import sys
from typing import Any

import rich_click as click

from serval.commands.failure import DONE, FAILED
from serval.commands.output import as_text, say
from serval.commands.predict import PredictCommand, print_answer, query_of, rows_of, takes_rows
from serval.commands.references import path_of
from serval.commands.remote import Remote, remote


@click.command("test", cls=PredictCommand, context_settings={"ignore_unknown_options": True})
@takes_rows
@remote
def test(
    server: Remote, model: str, values: tuple[str, ...], body: str | None, csv_file: str | None, version: int | None
) -> None:
    """Test a version of MODEL, held ones too, with rows, or without any its golden requests or example.

    The exit code is 1 if a golden request got another answer.
    """
    path, query = f"{path_of(server, model)}/test", query_of(version)
    rows = rows_of(values, body, csv_file) if values or body is not None or csv_file is not None else None
    tested = server.api.post(path, None, query) if rows is None else rows.post(server, path, query)
    server.show(tested, lambda: print_tested(server, model, tested))
    sys.exit(DONE if has_passed(tested) else FAILED)


def has_passed(tested: dict[str, Any]) -> bool:
    """Whether no golden request got another answer."""
    golden = tested.get("golden")
    return golden is None or (golden["problem"] is None and golden["agreeing"] == golden["rows"])


def print_tested(server: Remote, model: str, tested: dict[str, Any]) -> None:
    """`tested`: as the API returns it."""
    held = tested["held"]
    state = "live" if tested["is_live"] else "held" if held else "not live"
    say(f"{model} version {tested['version']} is {state}" + (f": {held['message']}" if held else ""))
    golden = tested.get("golden")
    if golden is None:
        if "request" in tested:
            say(f"asked its example {as_text(tested['request'])}")
        print_answer(server, tested["answer"])
        return
    say(f"{golden['agreeing']} of {golden['rows']} golden requests are answered as expected")
    if golden["problem"]:
        say(golden["problem"])
    if golden["worst"]:
        say(f"worst: {as_text(golden['worst'])}")


COMMANDS = (test,)
