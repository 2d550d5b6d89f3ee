"""Usernames, which are the `owner` in `owner/name`, and email addresses."""

import re

from serval.errors import BadRequest

USERNAME = re.compile(r"[a-z0-9][a-z0-9._-]{1,48}[a-z0-9]")
RESERVED = frozenset({"batch", "everybody", "me", "serval", "upload"})
"""Words of routes, and names that could mislead."""
EMAIL = re.compile(r"[^@\s<>()\[\],;:\\\"\x00-\x1f]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?")
MAX_EMAIL = 254


def check_username(name: str) -> str:
    """Return a valid username. Raises BadRequest."""
    if USERNAME.fullmatch(name) is None or name.startswith("usr_"):
        raise BadRequest(
            f"`username`: `{name[:60]}` is not valid: use 3 to 50 of `a-z`, `0-9`, `.`, `_`, `-`, "
            "with a letter or digit at both ends.",
            errors=[("username", "not a username")],
        )
    if name in RESERVED:
        raise BadRequest(f"`username`: `{name}` is reserved.", errors=[("username", "reserved")])
    return name


def check_email(text: str) -> str:
    """Return a valid email address in lower case, as it is stored. Raises BadRequest."""
    email = text.strip().lower()
    if len(email) > MAX_EMAIL or EMAIL.fullmatch(email) is None:
        raise BadRequest(f"`email`: `{text[:100]}` is not an email address.", errors=[("email", "not an address")])
    return email


def username_from(email: str) -> str:
    """Return the username derived from an email address."""
    name = re.sub(r"[^a-z0-9._-]+", "-", email.partition("@")[0])[:40].strip("._-")
    name = name if len(name) >= 3 else f"user-{name}".rstrip("-")
    return f"{name}-1" if name in RESERVED or name.startswith("usr_") else name
