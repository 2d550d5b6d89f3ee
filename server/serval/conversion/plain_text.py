"""Text that is safe to store and to show."""

import unicodedata

HIDDEN = {"Cc", "Cf", "Cs", "Cn", "Co", "Zl", "Zp"}


def is_plain(text: str) -> bool:
    """Whether a text holds no control, direction, surrogate, private or unassigned characters."""
    return (text.isascii() and text.isprintable()) or not any(
        unicodedata.category(character) in HIDDEN for character in text
    )


def plain(text: str, length: int) -> str:
    """The text on one line, cut to `length`, with characters that are not plain replaced."""
    return "".join(
        character if is_plain(character) else "\N{REPLACEMENT CHARACTER}"
        for character in " ".join(text[: 4 * length].split())[:length]
    )
