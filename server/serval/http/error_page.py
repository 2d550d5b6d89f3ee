"""The page that lists every error and what to do, to which the `type` of each problem leads."""

import re
from collections.abc import Iterator
from functools import cache
from html import escape
from pathlib import Path

import msgspec

from serval.errors import ServalError, error_classes

HELP_FILE = Path(__file__).with_name("error_help.json")
"""The help text of each error code, in Markdown; `make docs` writes it from `docs/errors.md`."""

_BLOCKS = re.compile(r"\n\s*\n")
_ITEMS = re.compile(r"^- ", re.MULTILINE)
_LINK = re.compile(r"\[([^\]]+)\]\([^)]+\)")
_CODE = re.compile(r"`([^`]+)`")


def error_list(root_path: str) -> str:
    """Return the body of the page. `root_path`: the prefix of links."""
    help_texts = _help_texts()
    sections = "".join(_section(error, help_texts[error.code]) for error in error_classes())
    back = f'<nav><a href="{root_path}/docs">API documentation</a></nav>'
    intro = "<p>Every error is a problem document. Its <code>type</code> leads to one of these sections.</p>"
    return f"{back}<main><h1>Errors</h1>{intro}{sections}</main>"


@cache
def _help_texts() -> dict[str, str]:
    return msgspec.json.decode(HELP_FILE.read_bytes(), type=dict[str, str])


def _section(error: type[ServalError], help_text: str) -> str:
    status = f"{error.status}: " if help_text.startswith(f"{error.status}. ") else ""
    text = help_text.removeprefix(f"{error.status}. ")
    heading = f'<h2 id="{error.code}"><a href="#{error.code}"><code>{error.code}</code></a></h2>'
    return f"<section>{heading}<p><strong>{status}{escape(error.title)}.</strong></p>{''.join(_blocks(text))}</section>"


def _blocks(markdown: str) -> Iterator[str]:
    """Yield the paragraphs and lists of a text as HTML; links become their words, as their pages are elsewhere."""
    for block in _BLOCKS.split(markdown):
        if block.startswith("- "):
            yield f"<ul>{''.join(f'<li>{_inline(item)}</li>' for item in _ITEMS.split(block)[1:])}</ul>"
        else:
            yield f"<p>{_inline(block)}</p>"


def _inline(markdown: str) -> str:
    text = escape(_LINK.sub(r"\1", " ".join(markdown.split())), quote=False)
    return _CODE.sub(r"<code>\1</code>", text)
