"""`serval verify-data`: examines everything that lies in the data folder and the database."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from serval.commands.failure import DONE, FAILED

if TYPE_CHECKING:
    from serval.models.at_rest import Problem
    from serval.settings.settings import Settings


@click.command("verify-data")
@click.option("--config", type=click.Path(path_type=Path), help="Settings file; by default serval.toml in this folder.")
@click.option("--data-dir", help="Data folder.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def verify_data(config: Path | None, data_dir: str | None, as_json: bool) -> None:
    """Examine the database, the files of all versions, and who may read them; nothing is changed.

    The exit code is 0 if all is well, and 1 if something is missing, damaged or too widely readable, with a line for
    each.
    """
    import asyncio

    import msgspec

    from serval.commands.output import say
    from serval.settings.reading import surroundings, typed

    problems = asyncio.run(problems_at_rest(typed(surroundings({"data_dir": data_dir}, config))))
    if as_json:
        click.echo(msgspec.json.encode({"problems": [problem._asdict() for problem in problems]}))
    else:
        for problem in problems:
            say(f"{problem.path}: {problem.message}")
        if not problems:
            say("All is well.")
    sys.exit(FAILED if problems else DONE)


async def problems_at_rest(settings: "Settings") -> "list[Problem]":
    """Raises CannotStart where there is no data folder, DatabaseUnavailable."""
    import asyncio

    from serval.db.engine import Database, database_url, open_engine
    from serval.db.integrity import find_problem
    from serval.errors import CannotStart
    from serval.models.at_rest import Problem, find_problems

    url = database_url(settings.database_url, settings.data_dir)
    models = settings.data_dir / "models"
    if not await asyncio.to_thread(models.is_dir):
        raise CannotStart(f"`{settings.data_dir}` is no data folder of Serval: choose it with `--data-dir`")
    problems = await asyncio.to_thread(problems_with_access, settings.data_dir)
    if url.get_backend_name() == "sqlite":
        file = Path(url.database or "")
        if not await asyncio.to_thread(lambda: file.is_file() and file.stat().st_size > 0):
            return [*problems, Problem(str(file), "is missing or empty")]
        if (damage := await asyncio.to_thread(find_problem, file, "integrity_check")) is not None:
            return [*problems, Problem(str(file), f"is damaged: {damage}")]
    database = Database(open_engine(url))
    try:
        return problems + await find_problems(database, models)
    finally:
        await database.close()


def problems_with_access(folder: Path) -> "list[Problem]":
    """What others than its owner may read or write of a data folder and its keys."""
    from serval.models.at_rest import Problem

    looked_at = [folder, folder / "admin.key"]
    return [
        Problem(str(path), f"others may use it (mode {path.stat().st_mode & 0o777:04o}): `chmod go= {path}`")
        for path in looked_at
        if path.exists() and path.stat().st_mode & 0o077
    ]
