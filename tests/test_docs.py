"""What the code offers is in `docs/`, and nothing else is."""

import re
import runpy
from pathlib import Path

import pytest

from serval.errors import ServalError, error_classes

DOCS = Path(__file__).parent.parent / "docs"
GENERATE = runpy.run_path(str(DOCS / "generate.py"))


def section(page: str, heading: str) -> str:
    """The text below a second-level heading, up to the next."""
    _, _, rest = page.partition(f"\n## {heading}\n")
    return rest.partition("\n## ")[0]


@pytest.mark.parametrize("error", list(error_classes()), ids=lambda error: error.code)
def test_every_error_is_documented_with_its_status(error: type[ServalError]) -> None:
    text = section((DOCS / "errors.md").read_text(), error.code).strip()
    assert text.startswith((f"{error.status}. ", "Never on the wire. "))


def test_no_error_is_documented_that_does_not_exist() -> None:
    documented = re.findall(r"^## (\w+)$", (DOCS / "errors.md").read_text(), re.MULTILINE)
    assert sorted(documented) == sorted(error.code for error in error_classes())


def test_every_error_has_a_code_of_its_own() -> None:
    codes = [error.code for error in error_classes()]
    assert len(codes) == len(set(codes))


def test_the_tree_at_the_top_of_the_errors_draws_all_of_them() -> None:
    import serval.errors

    drawn = re.findall(r"[├└]── (\w+)", serval.errors.__doc__ or "")
    assert sorted(drawn) == sorted(error.__name__ for error in error_classes() if error is not ServalError)


def test_every_setting_is_documented() -> None:
    from serval.settings.settings import Settings

    page = (DOCS / "settings.md").read_text()
    assert [name for name in Settings.__struct_fields__ if f"`SERVAL_{name.upper()}`" not in page] == []


def test_every_metric_is_documented() -> None:
    page = (DOCS / "metrics.md").read_text()
    names = [name for name, _ in GENERATE["known_metrics"]()]
    assert len(names) > 10
    assert [name for name in names if f"`{name}`" not in page] == []


def test_every_route_is_documented() -> None:
    page = (DOCS / "api.md").read_text()
    routes = GENERATE["known_routes"]()
    assert len(routes) > 10
    assert [f"{method} {path}" for path, method, _ in routes if f"`{method} {path}`" not in page] == []


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.name)
def test_what_is_generated_is_current(page: Path) -> None:
    text = page.read_text()
    assert GENERATE["rewritten"](text) == text, "run `make docs`"
