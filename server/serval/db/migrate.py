"""Brings the database's tables up to date."""

import logging
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError

from serval.db.disk_full import disk_full, is_disk_full
from serval.db.engine import open_engine
from serval.errors import Unavailable

MIGRATIONS = Path(__file__).parent / "migrations"


def _config(connection: Connection | None = None) -> Config:
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    return config


def newest_revision() -> str | None:
    """Return the revision that this Serval needs."""
    return ScriptDirectory.from_config(_config()).get_current_head()


def _upgrade(connection: Connection) -> tuple[str | None, str | None]:
    before = MigrationContext.configure(connection).get_current_revision()
    command.upgrade(_config(connection), "head")
    return before, MigrationContext.configure(connection).get_current_revision()


async def migrate(url: URL) -> tuple[str | None, str | None]:
    """Upgrade to the newest revision; return (revision before, revision now). Raises Unavailable."""
    logging.getLogger("alembic").setLevel(logging.WARNING)
    engine = open_engine(url)
    try:
        async with engine.begin() as connection:
            return await connection.run_sync(_upgrade)
    except (OSError, SQLAlchemyError) as error:
        raise _unreachable(url, error) from error
    finally:
        await engine.dispose()


async def current_revision(url: URL) -> str | None:
    """Return the revision of the database, None before the first migration. Raises Unavailable."""
    engine = open_engine(url)
    try:
        async with engine.connect() as connection:
            return await connection.run_sync(lambda sync: MigrationContext.configure(sync).get_current_revision())
    except (OSError, SQLAlchemyError) as error:
        raise _unreachable(url, error) from error
    finally:
        await engine.dispose()


def _unreachable(url: URL, error: Exception) -> Unavailable:
    if is_disk_full(url, error):
        return disk_full(url)
    reason = str(getattr(error, "orig", None) or error).splitlines()[0]
    return Unavailable(f"The database {url.render_as_string(hide_password=True)} cannot be used: {reason}")
