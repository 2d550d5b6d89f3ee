"""The part of `serval diagnose` about the database: its schema version, and its numbers of models and versions."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

PATIENCE_SECONDS = 5.0


def database_facts(configured: str | None, data_dir: Path) -> dict[str, object]:
    """The facts of the database that a server started here would use, or the problem with it."""
    import asyncio

    from serval.db.engine import database_url
    from serval.errors import Unavailable

    url = database_url(configured, data_dir)
    found: dict[str, object] = {
        "address": url.render_as_string(hide_password=True),
        "schema version": None,
        "schema version needed": None,
        "models": None,
        "models that are live": None,
        "versions": None,
        "problem": None,
    }
    if url.drivername.startswith("sqlite") and not Path(url.database or "").is_file():
        return found | {"problem": "there is no database yet; the first `serval serve` makes it"}
    try:
        return found | asyncio.run(_read(url))
    except TimeoutError:
        return found | {"problem": f"it did not answer within {PATIENCE_SECONDS:.0f} seconds"}
    except Unavailable as error:
        return found | {"problem": error.message}


async def _read(url: "URL") -> dict[str, object]:
    """Raises Unavailable, TimeoutError."""
    import asyncio

    from sqlalchemy import func, select

    from serval.db.engine import Database, open_engine
    from serval.db.migrate import current_revision, newest_revision
    from serval.models.tables import Model, Version

    async with asyncio.timeout(PATIENCE_SECONDS):
        revision, needed = await current_revision(url), newest_revision()
        schema: dict[str, object] = {"schema version": revision, "schema version needed": needed}
        if revision != needed:
            return schema | {"problem": "its tables are of another version: `serval migrate` brings them up to date"}
        database = Database(open_engine(url))
        try:
            async with database.read() as session:
                present = select(func.count()).select_from(Model).where(Model.deleted_at.is_(None))
                versions = select(func.count()).select_from(Version).join(Model).where(Model.deleted_at.is_(None))
                return schema | {
                    "models": await session.scalar(present),
                    "models that are live": await session.scalar(present.where(Model.live.is_not(None))),
                    "versions": await session.scalar(versions),
                }
        finally:
            await database.close()
