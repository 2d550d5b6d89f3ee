"""The bodies of uploads, for the OpenAPI document."""

from serval.http.openapi import JsonSchema, body
from serval.models.upload_form import MAX_DESCRIPTION_LENGTH, MODEL_TYPES

_UPLOAD_FIELDS: dict[str, JsonSchema] = {
    "file": {
        "type": "string",
        "format": "binary",
        "description": "The fitted model: pickle, joblib or skops, also compressed.",
    },
    "name": {
        "type": "string",
        "pattern": "^([^/\\x00]+/)?[a-z0-9][a-z0-9._-]{1,48}[a-z0-9]$",
        "description": (
            "What the model is called; the same name again is its next version. `owner/name`: one that you manage."
        ),
        "example": "iris",
    },
    "model_type": {
        "type": "string",
        "enum": list(MODEL_TYPES),
        "default": MODEL_TYPES[0],
        "description": "What made the file; `auto` finds out.",
    },
    "description": {
        "type": "string",
        "maxLength": MAX_DESCRIPTION_LENGTH,
        "description": "A text for people.",
        "example": "",
    },
    "columns": {
        "type": "string",
        "description": "Names for the columns of a model without: a JSON list, or names separated by commas.",
        "example": "",
    },
    "sample": {
        "type": "string",
        "description": (
            "Rows to verify with: CSV with a header, or a JSON list; a column `prediction` holds the answers expected,"
            " and `probabilities` (JSON only) their probabilities by label or in the order of the classes,"
            " of several targets a list of these."
        ),
        "example": "",
    },
    "expected_with": {
        "type": "string",
        "pattern": "^[0-9]{1,4}\\.[0-9]{1,4}[0-9A-Za-z.+-]{0,30}$",
        "description": "The scikit-learn version that computed the answers expected.",
        "example": "",
    },
    "allow_schema_change": {
        "type": "string",
        "enum": ["false", "true"],
        "default": "false",
        "description": "Go live although the columns differ.",
    },
}


def _form(title: str, *fields: str, required: list[str]) -> JsonSchema:
    properties = {name: _UPLOAD_FIELDS[name] for name in fields}
    return {
        "title": title,
        "type": "object",
        "required": required,
        "properties": properties,
        "additionalProperties": False,
    }


UPLOAD_BODY = body(
    "A model file and what is said of it.",
    {"multipart/form-data": _form("Upload", *_UPLOAD_FIELDS, required=["file", "name"])},
)

EXAMINED_BODY = body(
    "A model file, and what an upload would say of its columns.",
    {
        "multipart/form-data": _form(
            "FileToValidate", "file", "model_type", "columns", "sample", "expected_with", required=["file"]
        )
    },
)
