"""JSON exactly as RFC 8259 writes it: no duplicate keys, no NaN, no half surrogates, no byte order mark."""

import json
import re
from collections import Counter

from serval.errors import MalformedBody

LARGEST_EXACT_INTEGER = 2**53
_DIGITS_ALWAYS_EXACT = 15
_MAY_BE_LONE_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


class InexactInteger(str):
    """The digits of an integer that float64 cannot hold exactly; no column takes one."""

    __slots__ = ()


def parse(body: bytes) -> object:
    """The document in `body`: dicts, lists, str, bool, None; every number is a float (so `-0` stays negative) or an
    InexactInteger.

    Raises MalformedBody.
    """
    text = _decoded(body)
    try:
        document = _DECODER.decode(text)
        if _MAY_BE_LONE_SURROGATE.search(text):
            json.dumps(document, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        raise MalformedBody(
            f"The body is not JSON: {error.msg} at line {error.lineno}, column {error.colno}."
        ) from None
    except RecursionError:
        raise MalformedBody("The body is nested too deeply.") from None
    except UnicodeEncodeError:
        raise MalformedBody("A string of the body holds half of a surrogate pair, which is no character.") from None
    return document


def _decoded(body: bytes) -> str:
    if not body:
        raise MalformedBody('The body is empty; send JSON such as {"input": [5.1, 3.5, 1.4, 0.2]}.')
    if body.startswith(b"\xef\xbb\xbf"):
        raise MalformedBody("The body starts with a byte order mark; send JSON in UTF-8 without one.")
    try:
        return str(body, "utf-8")
    except UnicodeDecodeError as error:
        raise MalformedBody(f"The body is not UTF-8: byte {error.start} cannot be decoded.") from None


def _integer(digits: str) -> float | InexactInteger:
    if len(digits) > _DIGITS_ALWAYS_EXACT and not _is_exact(digits):
        return InexactInteger(digits)
    return float(digits)


def _is_exact(digits: str) -> bool:
    return len(digits) <= 17 and abs(int(digits)) <= LARGEST_EXACT_INTEGER


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise MalformedBody(f"The key {shown(_duplicate(pairs))} is there twice in one object.")
    return members


def _duplicate(pairs: list[tuple[str, object]]) -> str:
    counts = Counter(key for key, _ in pairs)
    return counts.most_common(1)[0][0]


def _constant(name: str) -> object:
    raise MalformedBody(f"{name} is not JSON; a missing value is null.")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_int=_integer, parse_constant=_constant)


def shown(value: object) -> str:
    """A value of a request as a message quotes it: at most 40 characters of it, control characters escaped."""
    match value:
        case dict():
            return "an object"
        case list():
            return "a list"
        case InexactInteger():
            return _shortened(value)
        case str():
            quoted = _shortened(value)
            return json.dumps(quoted, ensure_ascii=not quoted.isprintable())
        case float() if value.is_integer() and abs(value) <= LARGEST_EXACT_INTEGER:
            return str(int(value))
        case _:
            return json.dumps(value)


def _shortened(text: str) -> str:
    return text if len(text) <= 40 else text[:39] + "…"
