"""`serval migrate`: migrates the database."""

from pathlib import Path

import rich_click as click


@click.command()
@click.option("--data-dir", help="Folder of the embedded database.")
@click.option("--database-url", help="Database to migrate; by default the one in the settings.")
@click.option("--config", type=click.Path(path_type=Path), help="Settings file; by default serval.toml in this folder.")
def migrate(data_dir: str | None, database_url: str | None, config: Path | None) -> None:
    """Migrate the database to the current schema.

    `serval serve` migrates an embedded database itself.
    """
    import asyncio

    from serval.db import engine
    from serval.db.migrate import migrate as migrate_database
    from serval.process.locks import lock_data_folder
    from serval.settings.reading import surroundings, typed

    settings = typed(surroundings({"data_dir": data_dir, "database_url": database_url}, config))
    if settings.database_url is None:
        lock_data_folder(settings.data_dir)
    before, now = asyncio.run(migrate_database(engine.database_url(settings.database_url, settings.data_dir)))
    click.echo(
        f"the tables are up to date ({now})"
        if before == now
        else f"the tables went from {before or 'nothing'} to {now}"
    )
