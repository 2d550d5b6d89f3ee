"""Text from models and requests: what can be served, and what is safe to show."""

import unicodedata

from serval.conversion.signature import MAX_TEXT, MISSING_STRING

HIDDEN = {"Cc", "Cf", "Cs", "Cn", "Co", "Zl", "Zp"}
PART_OF_WORDS = frozenset("\u200c\u200d\u00ad")
"""Joiners belong to Persian, to Indian scripts and to emoji, and soft hyphens to long words."""


def why_not_served(text: str) -> str | None:
    """What keeps a column's name, a category or a label out of requests and answers; None: nothing does."""
    if len(text) > MAX_TEXT:
        return f"has {len(text)} characters; the limit is {MAX_TEXT}"
    if MISSING_STRING in text or "\0" in text:
        return f"holds U+0000 or U+{ord(MISSING_STRING):04X}, which cannot be part of a string here"
    if any("\ud800" <= character <= "\udfff" for character in text):
        return "holds half of a surrogate pair, which is no character"
    return None


def is_plain(text: str) -> bool:
    """Whether a text holds no control, direction, surrogate, private or unassigned characters."""
    return (text.isascii() and text.isprintable()) or not any(_is_hidden(character) for character in text)


def plain(text: str, length: int) -> str:
    """The text on one line, cut to `length`, with characters that are not plain replaced."""
    return "".join(
        "\N{REPLACEMENT CHARACTER}" if _is_hidden(character) else character
        for character in " ".join(text[: 4 * length].split())[:length]
    )


def escaped(text: str) -> str:
    """The text as a terminal may show it: characters that are not plain as Python spells them (`\\x1b`, `\\u202e`)."""
    return "".join(
        character.encode("unicode_escape").decode() if _is_hidden(character) else character for character in text
    )


def _is_hidden(character: str) -> bool:
    return unicodedata.category(character) in HIDDEN and character not in PART_OF_WORDS
