"""`serval migrate`: brings the tables of the database up to date."""

from pathlib import Path

import rich_click as click


@click.command()
@click.option("--data-dir", help="Folder of the embedded database.")
@click.option("--database-url", help="Database to migrate; the one in the settings by default.")
@click.option("--config", type=click.Path(path_type=Path), help="Settings file; serval.toml in this folder by default.")
def migrate(data_dir: str | None, database_url: str | None, config: Path | None) -> None:
    """Bring the database's tables up to date.

    An embedded database is brought up to date by serve itself.
    """
    import asyncio

    from serval.db import engine
    from serval.db.migrate import migrate as bring_up_to_date
    from serval.process.locks import lock_data_folder
    from serval.settings.settings import surroundings, typed

    settings = typed(surroundings({"data_dir": data_dir, "database_url": database_url}, config))
    if settings.database_url is None:
        lock_data_folder(settings.data_dir)
    before, now = asyncio.run(bring_up_to_date(engine.database_url(settings.database_url, settings.data_dir)))
    click.echo(
        f"the tables are up to date ({now})"
        if before == now
        else f"the tables went from {before or 'nothing'} to {now}"
    )
