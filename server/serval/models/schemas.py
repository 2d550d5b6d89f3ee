"""What the routes of the registry take and give."""

from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, UnsetType

from serval.auth.caller import Caller
from serval.conversion.messages import Inspection
from serval.conversion.report import Report
from serval.conversion.signature import Signature
from serval.errors import BadRequest
from serval.http.openapi import JsonSchema, body
from serval.http.request import PLAIN_TEXT
from serval.models.access import DOWNLOAD, Access, Permission, allows
from serval.models.lifecycle import Lifecycle, Status
from serval.models.queries import VisibleModel, VisibleVersion, full_name
from serval.models.tables import Cache, Share
from serval.models.upload import MAX_DESCRIPTION_LENGTH, MODEL_TYPES

Ttl = Annotated[float, msgspec.Meta(ge=0, le=31_536_000)]
"""Seconds, at most a year."""


class ModelChange(msgspec.Struct, forbid_unknown_fields=True):
    """What the owner may change of a model."""

    description: Annotated[str, msgspec.Meta(max_length=MAX_DESCRIPTION_LENGTH, pattern=PLAIN_TEXT)] | UnsetType = UNSET
    cache: Cache | UnsetType = UNSET
    """`l1`: answers are kept in the process, `l2`: in Redis too, `auto`: in Redis where a run costs more than asking
    it, `off`: nowhere."""
    cache_ttl_seconds: Ttl | UnsetType | None = UNSET
    """How long the process keeps an answer; null: as the setting says; 0: not at all."""
    cache_l2_ttl_seconds: Ttl | UnsetType | None = UNSET
    """How long Redis keeps an answer; null: as the setting says; 0: not at all."""


class Promotion(msgspec.Struct, forbid_unknown_fields=True):
    """How a version goes live by hand."""

    allow_schema_change: bool = False


class Reason(msgspec.Struct):
    code: str
    message: str


class VersionView(msgspec.Struct):
    """A version and what became of its upload."""

    model: str
    model_id: str
    owner: str
    id: str
    version: int
    status: Status
    lifecycle: Lifecycle
    is_live: bool
    filename: str
    source_bytes: int
    source_sha256: str
    onnx_bytes: int | None
    onnx_sha256: str | None
    created_at: datetime
    ready_at: datetime | None
    predict_url: str
    failure: Reason | None
    held: Reason | None
    """Why the version is ready but did not go live by itself."""
    signature: Signature | None
    report: Report | None
    example: dict[str, Any] | None
    """A real row, as the body of a prediction."""
    curl: str | None

    @classmethod
    def of(cls, seen: VisibleVersion, caller: Caller, base_url: str) -> "VersionView":
        version, model = seen.version, seen.version.model
        name = model.name if model.owner_id == caller.user_id else full_name(model)
        predict_url = f"{base_url}/api/v1/predict/{name}"
        if model.live != version.number:
            predict_url += f"?version={version.number}"
        return cls(
            model=model.name,
            model_id=model.id,
            owner=model.owner.username,
            id=version.id,
            version=version.number,
            status=version.status,
            lifecycle=version.lifecycle,
            is_live=model.live == version.number,
            filename=version.filename,
            source_bytes=version.source_bytes,
            source_sha256=version.source_sha256,
            onnx_bytes=version.onnx_bytes,
            onnx_sha256=version.onnx_sha256,
            created_at=version.created_at,
            ready_at=version.ready_at,
            predict_url=predict_url,
            failure=_failure(seen),
            held=_reason(version.held),
            signature=msgspec.convert(version.signature, Signature | None),
            report=msgspec.convert(version.report, Report | None),
            example=version.example,
            curl=_curl(predict_url, version.example) if version.example else None,
        )


class ModelView(msgspec.Struct):
    """A model with its live version."""

    id: str
    name: str
    owner: str
    access: Access
    """What you may do with it."""
    description: str
    live_version: int | None
    cache: Cache
    cache_ttl_seconds: float | None
    """None: as the setting says."""
    cache_l2_ttl_seconds: float | None
    created_at: datetime
    deleted_at: datetime | None

    @classmethod
    def of(cls, seen: VisibleModel) -> "ModelView":
        model = seen.model
        return cls(
            id=model.id,
            name=model.name,
            owner=model.owner.username,
            access=seen.access,
            description=model.description,
            live_version=model.live,
            cache=model.cache,
            cache_ttl_seconds=model.cache_ttl_seconds,
            cache_l2_ttl_seconds=model.cache_l2_ttl_seconds,
            created_at=model.created_at,
            deleted_at=model.deleted_at,
        )


class ModelList(msgspec.Struct):
    items: list[ModelView]


class VersionList(msgspec.Struct):
    items: list[VersionView]


class StoredReport(msgspec.Struct):
    """What became of a version, and how true it is."""

    status: Status
    failure: Reason | None
    held: Reason | None
    report: Report | None

    @classmethod
    def of(cls, seen: VisibleVersion) -> "StoredReport":
        version = seen.version
        report = msgspec.convert(version.report, Report | None)
        return cls(version.status, _failure(seen), _reason(version.held), report)


class ShareRequest(msgspec.Struct, forbid_unknown_fields=True):
    """With whom a model is to be shared: `user` or `everybody`."""

    permission: Permission
    """`predict`: ask the model and see what it is; `manage`: also its versions and settings."""
    user: Annotated[str, msgspec.Meta(min_length=1, max_length=100, pattern=PLAIN_TEXT)] | None = None
    """Name or id."""
    everybody: bool = False
    """Whoever is known to this server; for `predict` only."""

    def receiver(self) -> str | None:
        """Return the user, None for everybody. Raises BadRequest where it is neither or both."""
        if (self.user is None) is not self.everybody:
            raise BadRequest('Say with whom: `"user": "<name or id>"`, or `"everybody": true`.')
        return self.user


class ShareView(msgspec.Struct):
    """Somebody who may use a model that is not theirs."""

    id: str
    user: str | None
    """Name; null: everybody."""
    user_id: str | None
    everybody: bool
    permission: Permission
    created_at: datetime

    @classmethod
    def of(cls, share: Share) -> "ShareView":
        name = None if share.user is None else share.user.username
        return cls(share.id, name, share.user_id, share.user_id is None, share.permission, share.created_at)


class ShareList(msgspec.Struct):
    items: list[ShareView]


class Examination(msgspec.Struct):
    """What a file is, and whether it would be served; nothing of it is kept."""

    converts: bool
    failure: Reason | None
    """Why it would not be served."""
    inspection: Inspection | None
    """What is in the file, where it could be read."""
    signature: Signature | None
    report: Report | None
    """How true the converted model is, where it came so far."""


class ShortModel(msgspec.Struct):
    """A line of `GET /models`."""

    name: str
    owner: str
    version: int | None


class ShortModelList(msgspec.Struct):
    models: list[ShortModel]


def _failure(seen: VisibleVersion) -> Reason | None:
    """Why a version failed. The text may quote the upload, so it is for those who may download what came of it."""
    failure = _reason(seen.version.failure)
    if failure is None or allows(seen.access, DOWNLOAD):
        return failure
    return Reason(failure.code, "Those who manage the model can see why.")


def _reason(stored: dict[str, str] | None) -> Reason | None:
    return None if stored is None else Reason(stored["code"], stored["message"])


def _curl(predict_url: str, example: dict[str, Any]) -> str:
    body = msgspec.json.encode(example).decode().replace("'", "'\\''")
    return f"curl -s '{predict_url}' -H \"X-API-Key: $SERVAL_KEY\" -H 'Content-Type: application/json' -d '{body}'"


_UPLOAD_FIELDS: dict[str, JsonSchema] = {
    "file": {
        "type": "string",
        "format": "binary",
        "description": "The fitted model: pickle, joblib or skops, also compressed.",
    },
    "name": {
        "type": "string",
        "pattern": "^([^/\\x00]+/)?[a-z0-9][a-z0-9._-]{1,48}[a-z0-9]$",
        "description": "What the model is called; the same name again is its next version. `owner/name`: one that you manage.",
    },
    "model_type": {"type": "string", "enum": list(MODEL_TYPES), "description": "What made the file; `auto` finds out."},
    "description": {"type": "string", "maxLength": MAX_DESCRIPTION_LENGTH, "description": "A text for people."},
    "columns": {
        "type": "string",
        "description": "Names for the columns of a model without: a JSON list, or names parted by commas.",
    },
    "sample": {
        "type": "string",
        "description": "Rows to verify with: CSV with a header, or a JSON list; a column `prediction` holds the answers expected.",
    },
    "allow_schema_change": {
        "type": "string",
        "enum": ["true", "false"],
        "description": "Go live although the columns differ.",
    },
}


def _form(*fields: str, required: list[str]) -> JsonSchema:
    properties = {name: _UPLOAD_FIELDS[name] for name in fields}
    return {"type": "object", "required": required, "properties": properties, "additionalProperties": False}


UPLOAD_BODY = body(
    "A model file and what is said of it.", {"multipart/form-data": _form(*_UPLOAD_FIELDS, required=["file", "name"])}
)

EXAMINED_BODY = body(
    "A model file, and what an upload would say of its columns.",
    {"multipart/form-data": _form("file", "model_type", "columns", "sample", required=["file"])},
)
