"""What a version takes and answers, as text for people."""

from typing import Any

from serval.commands.output import as_text, say
from serval.commands.remote import Remote

MAX_SHOWN = 20
"""Labels, or categories of a column, that are shown; of more the rest is counted."""


def print_signature(server: Remote, version: dict[str, Any]) -> None:
    """The columns of a converted version, what it predicts, and its example. `version`: as the API returns it."""
    signature = version["signature"]
    say(f"version {version['version']} is a {signature['kind']}{labels_of(signature)}")
    columns = {"name": "column", "kind": "kind", "dtype": "dtype", "missing": "missing values", "takes": "categories"}
    server.table(map(column_row, signature["columns"]), columns)
    if not signature["has_names"]:
        say("the columns have no names of their own: send rows by position")
    if version["example"]:
        say(f"example: {as_text(version['example'])}")


def column_row(column: dict[str, Any]) -> dict[str, Any]:
    """A column as a row of the table. It has categories where the model refuses any other value."""
    missing = column.get("missing") is not None or column["kind"] == "unused"
    return {
        "name": column["name"],
        "kind": column["kind"],
        "dtype": column["dtype"],
        "missing": "allowed" if missing else None,
        "takes": listed(column.get("categories") or []),
    }


def labels_of(signature: dict[str, Any]) -> str:
    """Of a classifier, the labels of each target."""
    targets = [listed(labels) for labels in signature["labels"]]
    if not targets:
        return f" of {signature['targets']} targets" if signature["is_multi_target"] else ""
    if not signature["is_multi_target"]:
        return f" with the labels {targets[0]}"
    return f" of {len(targets)} targets with the labels {'; '.join(targets)}"


def listed(values: list[Any]) -> str:
    """Labels or categories, comma-separated; text as JSON where it would be taken for another value."""
    shown = ", ".join(map(as_text, values[:MAX_SHOWN]))
    return shown + (f" and {len(values) - MAX_SHOWN} more" if len(values) > MAX_SHOWN else "")
