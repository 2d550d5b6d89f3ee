"""Models and their versions: `client.models`."""

from datetime import datetime
from typing import Any, Optional

import msgspec


class Reason(msgspec.Struct, frozen=True):
    """Why a version failed, or is held."""

    code: str
    message: str

    def __str__(self) -> str:
        return self.message


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """A version of a model."""

    model: str
    model_id: str
    owner: str
    version: int
    """Its number."""
    status: str
    """`ready`, `failed`, or how far its conversion is."""
    lifecycle: str
    is_live: bool
    """Whether it answers those who ask the model."""
    held: Optional[Reason] = None
    """Why it is ready and did not go live."""
    failure: Optional[Reason] = None
    created_at: datetime
    ready_at: Optional[datetime] = None
    filename: str
    source_sha256: str
    predict_url: str
    signature: Optional[dict[str, Any]] = None
    """Its columns and labels."""
    report: Optional[dict[str, Any]] = None
    """How closely the converted model matches the original."""
    example: Optional[dict[str, Any]] = None
    """A row that it answers, as the body of a request."""

    @property
    def has_ended(self) -> bool:
        """Whether its conversion has ended."""
        return self.status in {"ready", "failed"}


class Examination(msgspec.Struct, frozen=True, kw_only=True):
    """What would become of a model if it were pushed."""

    converts: bool
    failure: Optional[Reason] = None
    """Why it does not."""
    signature: Optional[dict[str, Any]] = None
    report: Optional[dict[str, Any]] = None


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """A model."""

    id: str
    name: str
    owner: str
    access: str
    """What you may do with it."""
    description: str
    live_version: Optional[int] = None
    created_at: datetime


class ModelList(msgspec.Struct):
    items: list[Model]


class VersionList(msgspec.Struct):
    items: list[Version]
