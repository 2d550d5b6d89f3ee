"""The docs describe all that the code offers, and nothing else."""

import re
import runpy
from pathlib import Path
from typing import get_args

import pytest

import serval.wiring
from serval import changes
from serval.db.base import Table
from serval.errors import ServalError, error_classes

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
LONGEST_LINE = 120
GENERATE = runpy.run_path(str(DOCS / "generate.py"))


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def anchors(page: Path) -> set[str]:
    """The fragments that lead to a heading of a page, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def first_cells(text: str) -> list[str]:
    """What stands in backticks in the first column of the tables of a text."""
    rows = re.findall(r"^\|([^|]+)\|", text, re.MULTILINE)
    return [word for row in rows for word in re.findall(r"`([^`]+)`", row)]


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


def test_the_tree_in_the_errors_module_shows_every_error() -> None:
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
def test_generated_pages_are_up_to_date(page: Path) -> None:
    text = page.read_text()
    assert GENERATE["rewritten"](text) == text, "run `make docs`"


def test_the_server_shows_the_help_of_errors_as_it_is_here() -> None:
    assert GENERATE["ERROR_HELP"].read_text() == GENERATE["error_help"](), "run `make docs`"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_lines_of_a_page_are_short_but_for_rows_of_tables(page: Path) -> None:
    lines = page.read_text().splitlines()
    assert [line for line in lines if len(line) > LONGEST_LINE and not line.startswith("|")] == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_of_a_page_lead_to_pages_and_headings(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", page.read_text())
    assert [
        f"{path}#{anchor}"
        for path, anchor in targets
        if not (linked := page.parent / path if path else page).exists() or (anchor and anchor not in anchors(linked))
    ] == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_tests_that_a_page_names_exist(page: Path) -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)`", page.read_text())
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_exactly_the_tables_of_the_database_are_documented() -> None:
    assert serval.wiring.ROUTES  # imports every feature and so every table
    documented = first_cells(section((DOCS / "database.md").read_text(), "Tables"))
    assert sorted(documented) == sorted(Table.metadata.tables)


def test_exactly_the_kinds_of_changes_are_documented() -> None:
    documented = first_cells(section((DOCS / "database.md").read_text(), "Kinds of changes"))
    assert sorted(documented) == sorted(get_args(changes.Kind))


def test_log_events_that_are_documented_are_written_by_the_server() -> None:
    source = "".join(path.read_text() for path in (ROOT / "server").rglob("*.py"))
    events = first_cells(section((DOCS / "operate.md").read_text(), "Monitoring"))
    assert len(events) > 10
    assert [event for event in events if f'"{event}"' not in source] == []


@pytest.mark.parametrize("code", ["server/serval", "native/src"])
def test_every_room_of_the_code_is_drawn(code: str) -> None:
    tree = section((DOCS / "architecture.md").read_text(), "The tree")
    rooms = [path.name for path in (ROOT / code).iterdir() if path.is_dir() and not path.name.startswith("__")]
    assert [room for room in rooms if f" {room}/ " not in tree] == []


def test_python_files_whose_rules_live_twice_exist() -> None:
    table = section((DOCS / "architecture.md").read_text(), "Rules that live twice")
    named = re.findall(r"`(?!tests/)([a-z_]+/[a-z_]+\.py)`", table)
    assert len(named) > 5
    assert [name for name in named if not (ROOT / "server" / "serval" / name).exists()] == []


def test_the_glossary_is_short() -> None:
    assert section((DOCS / "architecture.md").read_text(), "Glossary").count("\n| ") - 1 <= 15


def test_the_guide_for_contributors_is_short() -> None:
    assert len((ROOT / "CONTRIBUTING.md").read_text().splitlines()) < 80
