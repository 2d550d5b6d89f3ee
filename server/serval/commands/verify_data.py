"""`serval verify-data`: examines everything that lies in the data folder and the database."""

import sys
from pathlib import Path

import rich_click as click

from serval.commands.failure import DONE, FAILED


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
    from serval.models.at_rest import problems_at_rest
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
