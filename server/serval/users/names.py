"""What users are called: the `owner` in `owner/name`."""

import re

from serval.errors import BadRequest

USERNAME = re.compile(r"[a-z0-9][a-z0-9._-]{1,48}[a-z0-9]")
RESERVED = frozenset({"batch", "everybody", "me", "serval", "upload"})
"""Words of routes, and names that nobody should pass for."""
EMAIL = re.compile(r"[^@\s<>()\[\],;:\\\"\x00-\x1f]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?")
MAX_EMAIL = 254


def check_username(name: str) -> str:
    """Return a username as it may be. Raises BadRequest."""
    if USERNAME.fullmatch(name) is None or name.startswith("usr_"):
        raise BadRequest(
            f"`username`: `{name[:60]}` is none: 3 to 50 of `a-z`, `0-9`, `.`, `_`, `-`, with a letter or digit at both ends.",
            errors=[("username", "not a username")],
        )
    if name in RESERVED:
        raise BadRequest(f"`username`: `{name}` is reserved.", errors=[("username", "reserved")])
    return name


def check_email(text: str) -> str:
    """Return an address in the form in which it is kept: lower case. Raises BadRequest."""
    email = text.strip().lower()
    if len(email) > MAX_EMAIL or EMAIL.fullmatch(email) is None:
        raise BadRequest(f"`email`: `{text[:100]}` is no address.", errors=[("email", "not an address")])
    return email


def username_from(email: str) -> str:
    """Return the username that an address suggests."""
    name = re.sub(r"[^a-z0-9._-]+", "-", email.partition("@")[0])[:40].strip("._-")
    name = name if len(name) >= 3 else f"user-{name}".rstrip("-")
    return f"{name}-1" if name in RESERVED or name.startswith("usr_") else name
