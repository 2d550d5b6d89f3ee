"""Stored password hashes: which kinds are verified, and what verifying one may cost."""

import binascii
import re
from base64 import b64decode, b64encode

MIB = 1024 * 1024
MAX_MEMORY_BYTES = 256 * MIB
"""Of Argon2, unless the server's own hashes take more."""
MAX_PASSES = 10
MAX_LANES = 16
BCRYPT_COSTS = range(4, 15)
"""Each takes twice as long as the one before; the highest about a second."""
SALT_BYTES = range(8, 65)
DIGEST_BYTES = range(12, 129)

_ARGON2 = re.compile(
    r"\$argon2(?:id|i|d)\$(?:v=(?P<version>\d{1,10})\$)?m=(?P<m>\d{1,10}),t=(?P<t>\d{1,10}),p=(?P<p>\d{1,10})"
    r"\$(?P<salt>[A-Za-z0-9+/]+)\$(?P<digest>[A-Za-z0-9+/]+)"
)
_VERSIONS = {None, "16", "19"}
_BCRYPT = re.compile(r"\$2[abxy]\$(?P<cost>\d\d)\$(?P<salt>[^$]*)", re.DOTALL)
_BCRYPT_REST = re.compile(r"[./A-Za-z0-9]{21}[.Oeu][./A-Za-z0-9]{30}[.CGKOSWaeimquy26]")
"""Salt and hash; the last character of each has bits that must be zero."""


def hash_problem(text: str, own_memory_bytes: int) -> str | None:
    """Return why a hash is not verified, as a clause that names the parameter and its limit; None: it is.

    `own_memory_bytes`: what the server's own hashes take, which may be more than others may.
    """
    if text.startswith("$argon2"):
        return _argon2_problem(text, max(own_memory_bytes, MAX_MEMORY_BYTES))
    if text.startswith("$2"):
        return _bcrypt_problem(text)
    return "it is neither Argon2 nor bcrypt"


def _argon2_problem(text: str, max_memory_bytes: int) -> str | None:
    match = _ARGON2.fullmatch(text)
    if match is None:
        return "it is damaged: Argon2 hashes look like `$argon2id$v=19$m=65536,t=3,p=4$<salt>$<hash>`"
    if match["version"] not in _VERSIONS:
        return f"version `v={match['version']}` of Argon2 is unknown; the versions are 19 and 16"
    for name in "mtp":
        if match[name] != str(int(match[name])):
            return f"it is damaged: `{name}={match[name]}` begins with a zero"
    memory, passes, lanes = (int(match[name]) for name in "mtp")
    if memory * 1024 > max_memory_bytes:
        return (
            f"`m={memory}` of Argon2 takes {memory // 1024} MiB; at most `m={max_memory_bytes // 1024}`"
            f" ({max_memory_bytes // MIB} MiB) is allowed"
        )
    if not 1 <= passes <= MAX_PASSES:
        return f"`t={passes}` passes of Argon2 are not allowed; `t` is from 1 to {MAX_PASSES}"
    if not 1 <= lanes <= MAX_LANES:
        return f"`p={lanes}` lanes of Argon2 are not allowed; `p` is from 1 to {MAX_LANES}"
    if memory < 8 * lanes:
        return f"`m={memory}` of Argon2 is too little for `p={lanes}`, which takes at least `m={8 * lanes}`"
    for name, sizes in (("salt", SALT_BYTES), ("digest", DIGEST_BYTES)):
        size = _decoded_size(match[name])
        word = "salt" if name == "salt" else "hash"
        if size is None:
            return f"its {word} is damaged: it is not base64 without padding"
        if size not in sizes:
            return f"its {word} has {size} bytes; from {sizes.start} to {sizes.stop - 1} are allowed"
    return None


def _bcrypt_problem(text: str) -> str | None:
    match = _BCRYPT.match(text)
    if match is None:
        return "it is damaged: bcrypt hashes look like `$2b$12$` and 53 characters of salt and hash"
    if int(match["cost"]) not in BCRYPT_COSTS:
        return (
            f"the cost {match['cost']} of bcrypt is not allowed;"
            f" it is from {BCRYPT_COSTS.start:02} to {BCRYPT_COSTS.stop - 1}"
        )
    if len(text) != 60:
        return f"it is damaged: bcrypt hashes have 60 characters, not {len(text)}"
    if _BCRYPT_REST.fullmatch(text[7:]) is None:
        return "its salt or its hash is damaged: it has a character that bcrypt does not write there"
    return None


def _decoded_size(text: str) -> int | None:
    """Return how many bytes unpadded base64 encodes; None where it is not what an encoder writes."""
    try:
        content = b64decode(text + "=" * (-len(text) % 4), validate=True)
    except binascii.Error:
        return None
    return len(content) if b64encode(content).rstrip(b"=").decode() == text else None
