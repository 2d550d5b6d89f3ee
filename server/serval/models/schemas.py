"""What the routes of the registry take and give."""

from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, UnsetType

from serval.conversion.golden import Golden, GoldenRequest
from serval.conversion.report import Reason, Report
from serval.conversion.signature import Signature
from serval.http.request import PLAIN_TEXT
from serval.models.access import DOWNLOAD, Access, allows
from serval.models.lifecycle import Lifecycle, Status
from serval.models.links import Links
from serval.models.queries import VisibleModel, VisibleVersion
from serval.models.tables import Cache, Version
from serval.models.upload_form import MAX_DESCRIPTION_LENGTH

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


class VersionChange(msgspec.Struct, forbid_unknown_fields=True):
    """What those who manage a model may change of a version."""

    columns: list[str] | UnsetType = UNSET
    """Names for its columns, in their order, where the model was fitted without any."""


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
    """A command that asks it; a test, while it is held."""

    @classmethod
    def of(cls, visible: VisibleVersion, links: Links) -> "VersionView":
        version, model, predict_url = visible.version, visible.version.model, links.predict(visible.version)
        return cls(
            model=model.name,
            model_id=model.id,
            owner=model.owner.username,
            id=version.id,
            version=version.number,
            status=version.status,
            lifecycle=version.lifecycle,
            is_live=version.is_live,
            filename=version.filename,
            source_bytes=version.source_bytes,
            source_sha256=version.source_sha256,
            onnx_bytes=version.onnx_bytes,
            onnx_sha256=version.onnx_sha256,
            created_at=version.created_at,
            ready_at=version.ready_at,
            predict_url=predict_url,
            failure=_failure(visible),
            held=_reason(version.held),
            signature=msgspec.convert(version.signature, Signature | None),
            report=msgspec.convert(version.report, Report | None),
            example=version.example,
            curl=_curl(links.test(version) if version.is_held else predict_url, version.example)
            if version.example
            else None,
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
    def of(cls, visible: VisibleModel) -> "ModelView":
        model = visible.model
        return cls(
            id=model.id,
            name=model.name,
            owner=model.owner.username,
            access=visible.access,
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
    def of(cls, visible: VisibleVersion) -> "StoredReport":
        version = visible.version
        report = msgspec.convert(version.report, Report | None)
        return cls(version.status, _failure(visible), _reason(version.held), report)


class StoredGolden(msgspec.Struct):
    """The golden requests of a version: none where its upload had no sample with the answers that it gives."""

    version: int
    expected_with: str | None
    """The scikit-learn that computed the answers, where the upload said it."""
    items: list[GoldenRequest]

    @classmethod
    def of(cls, version: Version, golden: Golden | None) -> "StoredGolden":
        if golden is None:
            return cls(version.number, None, [])
        return cls(version.number, golden.scikit_learn, golden.requests)


class ShortModel(msgspec.Struct):
    """A line of `GET /models`."""

    name: str
    owner: str
    version: int
    """The live one."""


class ShortModelList(msgspec.Struct):
    models: list[ShortModel]


def _failure(visible: VisibleVersion) -> Reason | None:
    """Why a version failed. The text may quote the upload, so it is for those who may download what came of it."""
    failure = _reason(visible.version.failure)
    if failure is None or allows(visible.access, DOWNLOAD):
        return failure
    return Reason(failure.code, "Those who manage the model can see why.")


def _reason(stored: dict[str, str] | None) -> Reason | None:
    return None if stored is None else Reason(stored["code"], stored["message"])


def _curl(predict_url: str, example: dict[str, Any]) -> str:
    body = msgspec.json.encode(example).decode().replace("'", "'\\''")
    return f"curl -s '{predict_url}' -H \"X-API-Key: $SERVAL_KEY\" -H 'Content-Type: application/json' -d '{body}'"
