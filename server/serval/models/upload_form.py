"""Reads an upload as it streams in: the file to disk, the fields beside it."""

import re
from collections.abc import AsyncIterator, Sequence
from email.message import Message
from typing import Any

import msgspec
from multipart import MultipartError, MultipartSegment, PushMultipartParser

from serval.errors import BadRequest, TooLarge, UnsupportedContent
from serval.storage.disk import Incoming

_FIELD_LIMIT_BYTES = 4 * 1024 * 1024
UPLOAD_FIELDS = ("name", "model_type", "description", "columns", "sample", "expected_with", "allow_schema_change")
_FORM_BYTES = (len(UPLOAD_FIELDS) + 1) * _FIELD_LIMIT_BYTES
"""What the body of an upload may hold besides its file."""

EXAMINED_FIELDS = ("model_type", "columns", "sample", "expected_with")
MODEL_TYPES = ("auto", "sklearn")
MAX_DESCRIPTION_LENGTH = 10_000
_VERSION = re.compile(r"[0-9]{1,4}\.[0-9]{1,4}[0-9A-Za-z.+-]{0,30}")


class UploadForm(msgspec.Struct):
    """What an upload says besides the file."""

    filename: str
    name: str | None = None
    model_type: str = "auto"
    description: str | None = None
    columns: list[str] | None = None
    sample: str | None = None
    """CSV with a header, or JSON rows; a column `prediction` holds the answers expected."""
    expected_with: str | None = None
    """The scikit-learn version that computed them."""
    allow_schema_change: bool = False


def check_length(announced_bytes: int | None, max_upload_bytes: int) -> None:
    """Refuse a body that is too large by its own account, before a byte of it is read. Raises TooLarge."""
    if (announced_bytes or 0) > max_upload_bytes + _FORM_BYTES:
        raise TooLarge(f"The upload is larger than {max_upload_bytes} bytes, the limit set by `max_upload_bytes`.")


async def read_upload(
    content_type: str | None, chunks: AsyncIterator[bytes], incoming: Incoming, known: Sequence[str] = UPLOAD_FIELDS
) -> UploadForm:
    """Write the part `file` into `incoming` and return the other fields, which must be among the `known`.

    An empty field is one that is not given, but for `name`. Raises BadRequest, UnsupportedContent, and what `incoming`
    raises when the file is too large.
    """
    fields: dict[str, bytearray] = {}
    filename: str | None = None
    segment: MultipartSegment | None = None
    try:
        with PushMultipartParser(_boundary(content_type), max_segment_count=20) as parser:
            async for chunk in chunks:
                for event in parser.parse(chunk):
                    if isinstance(event, MultipartSegment):
                        segment = event
                        filename = _open_segment(event, fields, filename, known)
                    elif event is not None and segment is not None:
                        _write(segment.name, event, fields, incoming)
            parser.close()
    except MultipartError as error:
        raise BadRequest(f"The body is not well-formed multipart/form-data: {error}.") from None
    if filename is None:
        raise BadRequest("`file`: the upload has no file; send it as the part `file`.")
    return _form(filename, {name: bytes(value) for name, value in fields.items() if value or name == "name"})


def _boundary(content_type: str | None) -> str:
    header = Message()
    header["Content-Type"] = content_type or ""
    boundary = header.get_boundary()
    if header.get_content_type() != "multipart/form-data" or not boundary:
        raise UnsupportedContent("An upload is multipart/form-data with a part `file`.")
    return boundary


def _open_segment(
    segment: MultipartSegment, fields: dict[str, bytearray], filename: str | None, known: Sequence[str]
) -> str | None:
    if segment.name == "file":
        if filename is not None:
            raise BadRequest("`file`: an upload has one file; send the others one by one.")
        return _without_nul("file", segment.filename or "model.pkl")[-255:]
    if segment.name not in known:
        raise BadRequest(
            f"`{segment.name[:60]}`: unknown field; this takes `file`, {', '.join(f'`{name}`' for name in known)}."
        )
    if segment.name in fields:
        raise BadRequest(f"`{segment.name}`: given twice.")
    fields[segment.name] = bytearray()
    return filename


def _write(name: str, chunk: bytes | bytearray, fields: dict[str, bytearray], incoming: Incoming) -> None:
    if name == "file":
        incoming.write(chunk)
        return
    fields[name] += chunk
    if len(fields[name]) > _FIELD_LIMIT_BYTES:
        raise BadRequest(f"`{name}`: longer than {_FIELD_LIMIT_BYTES} bytes; a sample of a few hundred rows is enough.")


def _form(filename: str, fields: dict[str, bytes]) -> UploadForm:
    values: dict[str, Any] = {name: _text(name, value) for name, value in fields.items()}
    if values.get("model_type", "auto") not in MODEL_TYPES:
        raise BadRequest(
            f"`model_type`: `{values['model_type'][:40]}` is unknown; use one of {', '.join(MODEL_TYPES)}."
        )
    if len(values.get("description", "")) > MAX_DESCRIPTION_LENGTH:
        raise BadRequest(f"`description`: longer than {MAX_DESCRIPTION_LENGTH} characters.")
    if "expected_with" in values and not _VERSION.fullmatch(values["expected_with"]):
        raise BadRequest(f"`expected_with`: `{values['expected_with'][:40]}` is no version such as 1.8.0.")
    if "columns" in values:
        values["columns"] = _columns(values["columns"])
    if "allow_schema_change" in values:
        values["allow_schema_change"] = _boolean("allow_schema_change", values["allow_schema_change"])
    return UploadForm(filename, **values)


def _text(name: str, value: bytes) -> str:
    try:
        return _without_nul(name, value.decode())
    except UnicodeDecodeError:
        raise BadRequest(f"`{name}`: not UTF-8.") from None


def _without_nul(name: str, text: str) -> str:
    if "\0" in text:
        raise BadRequest(f"`{name}`: holds U+0000, which no text may.")
    return text


def _columns(text: str) -> list[str]:
    """Read column names: a JSON list, or names separated by commas."""
    if not text.lstrip().startswith("["):
        return [name.strip() for name in text.split(",")]
    try:
        return [_without_nul("columns", name) for name in msgspec.json.decode(text, type=list[str])]
    except msgspec.DecodeError as error:
        raise BadRequest(f"`columns`: not a list of names: {error}.") from None


def _boolean(name: str, text: str) -> bool:
    if text.lower() in {"true", "1", "yes", "on"}:
        return True
    if text.lower() in {"false", "0", "no", "off", ""}:
        return False
    raise BadRequest(f"`{name}`: `{text[:40]}` is neither `true` nor `false`.")
