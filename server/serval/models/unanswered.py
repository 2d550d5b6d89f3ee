"""Why a name answers nobody: all that was uploaded failed, is held or is still converted, or it is of others."""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from serval.auth.caller import Caller
from serval.errors import NotFound, NotPermitted
from serval.models.access import DOWNLOAD, allows
from serval.models.queries import find_model, others_called, unknown_model
from serval.models.tables import Version


async def unanswered_reason(session: AsyncSession, caller: Caller, reference: str) -> str | None:
    """Return a sentence about a model without a live version, or about models of others with its name that the caller
    may use; None where it has a live version, or there is none of the name."""
    try:
        model, access = await find_model(session, caller, reference)
    except NotFound:
        others = await others_called(session, caller, reference)
        return unknown_model(reference, others).message if others else None
    except NotPermitted:
        return None
    newest = select(Version).where(Version.model_id == model.id).order_by(Version.number.desc()).limit(1)
    version = await session.scalar(newest)
    if model.live is not None or version is None:
        return None
    # The text of a failure may quote the upload.
    failure = version.failure["message"] if version.failure and allows(access, DOWNLOAD) else ""
    return f"The model `{model.name}` has no live version. {_state(version, failure)}"


def _state(version: Version, failure: str) -> str:
    if version.status == "failed":
        return f"Version {version.number} failed{f': {failure}' if failure else '.'}"
    if version.status != "ready":
        return f"Version {version.number} is being converted: ask again when it is ready."
    if version.lifecycle == "archived":
        return f"Version {version.number} is archived: upload another."
    return f"Version {version.number} is ready, but not live: those who manage the model can promote it."
