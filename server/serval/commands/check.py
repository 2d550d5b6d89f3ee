"""`serval check`: what a model file is, and whether it would convert, without a server."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from serval.commands.failure import DONE, HELD, REFUSED

if TYPE_CHECKING:
    from serval.conversion.examine import Examination
    from serval.conversion.freeze import FreezeRequest, Sandbox
    from serval.settings.settings import Settings


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--columns", help="Comma-separated column names, for a model that was fitted on plain arrays.")
@click.option(
    "--sample",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Rows to verify with: CSV with a header, or JSON.",
)
@click.option(
    "--join",
    type=click.Path(exists=False, dir_okay=False, path_type=Path),
    help="Write the model and the scaler, encoder or labels saved beside it into this new file, as one model.",
)
@click.option("--config", type=click.Path(path_type=Path), help="Settings file; by default serval.toml in this folder.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def check(
    file: Path, columns: str | None, sample: Path | None, join: Path | None, config: Path | None, as_json: bool
) -> None:
    """Show what is in FILE, whether Serval can convert it and how accurately, and what to do if it cannot.

    Serval loads the file in a confined process, as the server does. The exit code is that of a push: 0 if it would
    be live, 3 if it would be held, 4 if it would be refused.
    With `--join`, the joined file is what is checked.
    """
    import asyncio
    import sys

    import msgspec

    from serval.models.samples import freeze_request
    from serval.settings.reading import surroundings, typed

    settings = typed(surroundings({}, config))
    names = [column.strip() for column in columns.split(",")] if columns else None
    rows = sample.read_text(encoding="utf-8") if sample else None
    request = freeze_request(names, rows, settings.convert_memory_bytes // 2)
    if join is not None:
        write_joined(join, asyncio.run(joined(file, request, settings)))
        file = join
    findings = findings_of(file, asyncio.run(examined(file, request, settings)))
    if as_json:
        click.echo(msgspec.json.encode(findings))
    else:
        print_findings(findings)
    sys.exit(exit_code(findings))


async def examined(file: Path, request: "FreezeRequest", settings: "Settings") -> "Examination":
    """Examine a file in a sandbox of its own. Raises Unavailable if this kernel cannot confine a process."""
    from serval.conversion.examine import examine

    async with sandbox_of(settings) as sandbox:
        return await examine(sandbox, file, request)


async def joined(file: Path, request: "FreezeRequest", settings: "Settings") -> bytes:
    """A pickle of the one model that the parts of a file make. Raises Unavailable, NotAModel, SandboxViolation."""
    from serval.conversion.freeze import join

    async with sandbox_of(settings) as sandbox:
        return await join(sandbox, file, request.limit_bytes)


@contextlib.asynccontextmanager
async def sandbox_of(settings: "Settings") -> AsyncIterator["Sandbox"]:
    import tempfile

    from serval.conversion.sandbox.sandbox import open_sandbox

    with tempfile.TemporaryDirectory(prefix="serval-check-") as folder:
        sandbox = open_sandbox(
            Path(folder),
            memory_bytes=settings.convert_memory_bytes,
            cpu_seconds=settings.convert_cpu_seconds,
            wall_seconds=settings.convert_wall_seconds,
            allow_unconfined=settings.allow_unconfined_conversion,
            max_children=1,
        )
        try:
            yield sandbox
        finally:
            await sandbox.close()


def write_joined(path: Path, content: bytes) -> None:
    """Raises ClickException if there is a file already, or it cannot be written."""
    from serval.commands.files import write_new

    try:
        write_new(path, [content])
    except OSError as error:
        raise click.ClickException(f"`{path}` cannot be written: {error.strerror}.") from error


def findings_of(file: Path, examination: "Examination") -> dict[str, Any]:
    """`file`, `inspection`, `signature`, `converts`, `report`, `reason`, as JSON has them."""
    import msgspec

    return {
        "file": str(file),
        "inspection": msgspec.to_builtins(examination.inspection),
        "signature": msgspec.to_builtins(examination.signature),
        "converts": examination.converts,
        "report": msgspec.to_builtins(examination.report),
        "reason": examination.failure and examination.failure.message,
    }


def exit_code(findings: dict[str, Any]) -> int:
    """The exit code of a push of the same file as a new model."""
    if not findings["converts"]:
        return REFUSED
    return HELD if held_because(findings) else DONE


def held_because(findings: dict[str, Any]) -> str | None:
    """Why the server would hold the version back; None: it would not."""
    return findings["report"]["hold_reason"] if findings["converts"] else None


def print_findings(findings: dict[str, Any]) -> None:
    from serval.commands.output import escaped_lines, say
    from serval.commands.reports import lines_of

    for line in inspection_lines(findings["inspection"]) if findings["inspection"] else []:
        say(line)
    if columns := columns_line(findings):
        say(columns)
    for line in lines_of(findings["report"]) if findings["report"] else []:
        say(line)
    if held := held_because(findings):
        click.secho(f"It converts, but `serval model push` would not make it live. {escaped_lines(held)}", fg="yellow")
    elif findings["converts"]:
        click.secho("It converts: `serval model push` would make it live.", fg="green")
    else:
        click.secho(f"It does not convert. {escaped_lines(findings['reason'])}", fg="red")


def inspection_lines(inspection: dict[str, Any]) -> list[str]:
    """What is in the file, one fact per line."""
    steps = f" ({' → '.join(inspection['steps'])})" if inspection["steps"] else ""
    packed = f", compressed with {inspection['compression']}" if inspection["compression"] else ""
    verified_with = inspection["scikit_learn_verified_with"]
    saved_with = inspection["scikit_learn_saved_with"] or verified_with
    lines = [
        f"{inspection['format']}{packed}: {inspection['estimator']}{steps}, {inspection['kind'] or 'no predictor'}",
        f"saved with scikit-learn {saved_with}, loaded with {verified_with}",
    ]
    if inspection["labels"]:
        lines.append(f"{len(inspection['labels'])} labels: {shortened(inspection['labels'])}")
    return lines + [f"note: {note}" for note in inspection["notes"]]


def columns_line(findings: dict[str, Any]) -> str | None:
    """How many columns a row has, and their names and kinds as far as they are known; None: nothing is known."""
    inspection, signature = findings["inspection"], findings["signature"]
    if signature and not signature["has_names"]:
        return f"{counted(len(signature['columns']))} without names: `--columns` names them, in their order"
    names = [named(column) for column in signature["columns"]] if signature else (inspection or {}).get("columns")
    return f"{counted(len(names))}: {shortened(names)}" if names else None


def counted(columns: int) -> str:
    return f"{columns} column{'' if columns == 1 else 's'}"


def named(column: dict[str, Any]) -> str:
    return column["name"] if column["kind"] == "number" else f"{column['name']} ({column['kind']})"


def shortened(names: list[object], limit: int = 8) -> str:
    return ", ".join(map(str, names[:limit])) + (", …" if len(names) > limit else "")
