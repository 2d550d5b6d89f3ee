"""What a model may be called."""

import re

from serval.errors import BadRequest

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{1,48}[a-z0-9]")
_ID_PREFIXES = ("mdl_", "ver_", "usr_", "key_", "job_", "dep_", "prd_", "req_")
_RESERVED = frozenset(
    {"batch", "upload", "versions", "promote", "rollback", "restore", "test", "report", "download", "predict", "models"}
)


def check_name(name: str) -> str:
    """Return the name, where a model may have it. Raises BadRequest."""
    if not _NAME.fullmatch(name):
        raise BadRequest(
            f"`name`: `{name[:60]}` cannot name a model; use 3 to 50 of a-z, 0-9, `.`, `_`, `-`, with a letter or "
            "digit at both ends."
        )
    if name in _RESERVED or name.startswith(_ID_PREFIXES):
        raise BadRequest(f"`name`: `{name}` is reserved; choose another.")
    return name


def check_reference(name: str) -> str:
    """Return the name of an upload, `name` or `owner/name`, where a model may be called so. Raises BadRequest."""
    check_name(name.rpartition("/")[2])
    return name
