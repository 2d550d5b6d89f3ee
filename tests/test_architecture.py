"""Rules of the architecture: imports, first sentences of modules, names."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "server" / "serval"
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py")
TESTS = sorted(path for path in (ROOT / "tests").rglob("*.py") if path.name != "__init__.py")

NAMES_THAT_SAY_NOTHING = {"utils", "util", "helpers", "helper", "common", "manager", "base_service", "misc"}

BLIND = {
    "serval.conversion.sandbox.child": [
        "serval.settings.settings",
        "serval.db",
        "serval.storage",
        "serval.http",
        "serval.log",
    ],
    "serval.process.supervisor": [
        "serval.wiring",
        "serval.app",
        "serval.data_plane.plane",
        "serval.port.granian",
        "granian",
        "litestar",
    ],
    "serval.auth": ["sqlalchemy", "serval.db", "serval.users", "serval.models"],
}
"""Modules and what they must not reach, directly or through others."""


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imports_of(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def is_support(path: Path) -> bool:
    return ROOT / "tests" / "support" in path.parents


def module_names(path: Path) -> set[str]:
    """The names by which `path` can be imported where `tests` is on the path."""
    parts = path.relative_to(ROOT / "tests").with_suffix("").parts
    return {".".join(parts), path.stem}


@pytest.fixture(scope="module")
def imports() -> grimp.ImportGraph:
    return grimp.build_graph("serval", include_external_packages=True, cache_dir=None)


def test_imports_point_down_only() -> None:
    # In a process of its own: it configures `logging` and disables the loggers of everybody else.
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache", "--no-logo"]
    linted = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True)
    assert linted.returncode == 0, linted.stdout


@pytest.mark.parametrize(
    ("module", "unseen"), [(module, unseen) for module, others in BLIND.items() for unseen in others]
)
def test_a_module_cannot_reach_modules_that_it_must_not_know(
    imports: grimp.ImportGraph, module: str, unseen: str
) -> None:
    chains = (
        imports.find_shortest_chains(module, unseen, as_packages=True) if {module, unseen} <= imports.modules else set()
    )
    assert chains == set()


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_only_the_data_plane_and_conversion_import_the_rust_core(path: Path) -> None:
    may_import = bool({PACKAGE / "data_plane", PACKAGE / "conversion"} & set(path.parents))
    found = any(re.match(r"serval\._native\b", name) for name in imports_of(ast.parse(path.read_text())))
    assert may_import or not found


@pytest.mark.parametrize("path", [*MODULES, *TESTS], ids=name_of)
def test_a_module_opens_with_one_sentence(path: Path) -> None:
    docstring = ast.get_docstring(ast.parse(path.read_text())) or ""
    opening, _, rest = docstring.partition("\n")
    assert re.fullmatch(r"\S.*[.:?]", opening), "the first line of a module is a sentence about it"
    assert not rest.strip() or rest.startswith("\n"), "one sentence is one line"


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("__init__.py")), ids=name_of)
def test_an_init_is_empty_but_for_the_version(path: Path) -> None:
    assert re.fullmatch(r'(__version__ = "[^"]+"\n)?', path.read_text())


@pytest.mark.parametrize("path", TESTS, ids=name_of)
def test_tests_share_support_modules_and_import_no_tests(path: Path) -> None:
    others = {name for other in TESTS if not is_support(other) for name in module_names(other)}
    imported = set(imports_of(ast.parse(path.read_text())))
    assert {name for name in imported if {name, name.rpartition(".")[0]} & others} == set()


@pytest.mark.parametrize("path", [path for path in TESTS if not is_support(path)], ids=name_of)
def test_a_module_among_the_tests_has_tests_or_fixtures(path: Path) -> None:
    assert path.name.startswith("test_") or path.name == "conftest.py"


def test_module_names_are_meaningful() -> None:
    names = {path: set(path.relative_to(PACKAGE).with_suffix("").parts) for path in MODULES}
    assert [
        name_of(path) for path, parts in names.items() if parts & NAMES_THAT_SAY_NOTHING or path.name == "models.py"
    ] == []


@pytest.mark.parametrize(
    "path", [path for path in MODULES if path.name == "routes.py" or path.parent.name == "http"], ids=name_of
)
def test_routes_keep_their_annotations_for_the_framework(path: Path) -> None:
    names = list(imports_of(ast.parse(path.read_text())))
    assert "__future__.annotations" not in names
    assert "typing.TYPE_CHECKING" not in names
