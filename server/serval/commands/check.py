"""`serval check`: what a model file is, and whether it would convert, without a server."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

if TYPE_CHECKING:
    from serval.conversion.freeze import FreezeRequest
    from serval.settings.settings import Settings


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--columns", help="Column names, separated by commas, for a model that was fitted on plain arrays.")
@click.option(
    "--sample",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Rows to verify with: CSV with a header, or JSON.",
)
@click.option("--config", type=click.Path(path_type=Path), help="Settings file; serval.toml in this folder by default.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def check(file: Path, columns: str | None, sample: Path | None, config: Path | None, as_json: bool) -> None:
    """Say what is in FILE, whether Serval would convert it and how truly, and what to do if not.

    The file is loaded in a confined process, as the server would do. The exit code is 1 where it would be refused.
    """
    import asyncio
    import sys

    import msgspec

    from serval.models.samples import freeze_request
    from serval.settings.reading import surroundings, typed

    settings = typed(surroundings({}, config))
    names = [column.strip() for column in columns.split(",")] if columns else None
    rows = sample.read_text(encoding="utf-8") if sample else None
    found = asyncio.run(examine(file, freeze_request(names, rows, settings.convert_memory_bytes // 2), settings))
    if as_json:
        click.echo(msgspec.json.encode(found))
    else:
        print_findings(found)
    sys.exit(0 if found["converts"] else 1)


async def examine(file: Path, request: "FreezeRequest", settings: "Settings") -> dict[str, Any]:
    """`file`, `inspection`, `converts`, `report`, `reason`. Raises Unavailable where this kernel can not confine."""
    import contextlib
    import sys
    import tempfile

    import msgspec

    from serval.conversion.freeze import freeze, inspect
    from serval.conversion.sandbox.sandbox import Limits, Sandbox
    from serval.errors import Unavailable, Unprocessable

    limits = Limits(
        memory_bytes=settings.convert_memory_bytes,
        cpu_seconds=settings.convert_cpu_seconds,
        wall_seconds=settings.convert_wall_seconds,
    )
    found: dict[str, Any] = {"file": str(file), "inspection": None, "converts": False, "report": None, "reason": None}
    with tempfile.TemporaryDirectory(prefix="serval-check-") as folder:
        sandbox = Sandbox(
            python=sys.executable,
            root=Path(folder),
            limits=limits,
            allow_unconfined=settings.allow_unconfined_conversion,
            max_children=1,
        )
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(sandbox.close)
            try:
                found["inspection"] = msgspec.to_builtins(await inspect(sandbox, file, request.limit_bytes))
                frozen = await freeze(sandbox, file, request, no_stage)
                found |= {"converts": True, "report": msgspec.to_builtins(frozen.report)}
            except Unavailable:
                raise
            except Unprocessable as error:
                found |= {"reason": error.message, "report": error.extra.get("report")}
    return found


async def no_stage(_stage: str) -> None:
    """Nobody waits for the stages of a check."""


def print_findings(found: dict[str, Any]) -> None:
    from serval.commands.reports import lines_of

    for line in inspection_lines(found["inspection"]) if found["inspection"] else []:
        click.echo(line)
    for line in lines_of(found["report"]) if found["report"] else []:
        click.echo(line)
    if found["converts"]:
        click.secho("It converts: `serval model push` would make it live.", fg="green")
    else:
        click.secho(f"It does not convert. {found['reason']}", fg="red")


def inspection_lines(inspection: dict[str, Any]) -> list[str]:
    """What is in the file, a fact a line."""
    steps = f" ({' → '.join(inspection['steps'])})" if inspection["steps"] else ""
    packed = f", compressed with {inspection['compression']}" if inspection["compression"] else ""
    there, here = (
        inspection["scikit_learn_saved_with"] or inspection["scikit_learn_verified_with"],
        inspection["scikit_learn_verified_with"],
    )
    lines = [
        f"{inspection['format']}{packed}: {inspection['estimator']}{steps}, {inspection['kind'] or 'no predictor'}",
        f"saved by scikit-learn {there}, read here by {here}",
    ]
    if inspection["columns"]:
        lines.append(f"{len(inspection['columns'])} columns: {shortened(inspection['columns'])}")
    if inspection["labels"]:
        lines.append(f"{len(inspection['labels'])} labels: {shortened(inspection['labels'])}")
    return lines + [f"note: {note}" for note in inspection["notes"]]


def shortened(names: list[object], most: int = 8) -> str:
    return ", ".join(map(str, names[:most])) + (", …" if len(names) > most else "")
