"""Describes every setting, for `docs/settings.md` and `serval diagnose`."""

import ast
import inspect
from itertools import pairwise
from typing import get_type_hints

import msgspec

from serval.settings.settings import Settings, variable
from serval.settings.text import accepts, shown


class SettingDescription(msgspec.Struct, frozen=True):
    """A setting as the documentation and the command line show it."""

    name: str
    environment: str
    accepts: str
    default: str
    description: str


def describe() -> list[SettingDescription]:
    """Describe every setting, in the order of the struct."""
    hints = get_type_hints(Settings, include_extras=True)
    texts = docstrings()
    defaults = msgspec.structs.asdict(Settings())
    return [
        SettingDescription(name, variable(name), accepts(name, hints[name]), shown(name, default), texts[name])
        for name, default in defaults.items()
    ]


def docstrings() -> dict[str, str]:
    """Return the docstring of each field of `Settings`, which Python does not keep, as one line."""
    struct = next(node for node in ast.walk(ast.parse(inspect.getsource(Settings))) if isinstance(node, ast.ClassDef))
    texts = {}
    for above, below in pairwise(struct.body):
        match above, below:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                texts[name] = " ".join(text.split())
    return texts
