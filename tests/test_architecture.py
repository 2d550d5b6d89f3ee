"""Rules of the architecture: imports, first sentences of modules, names."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "server" / "serval"
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py")
RUST = ROOT / "native" / "src"
RUST_MODULES = sorted(path for path in RUST.rglob("*.rs") if path != RUST / "fuzz.rs")
"""`fuzz.rs` is a test."""
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

MAX_RUST_LINES = 400
MAX_PYTHON_LINES = 300
MAX_OWN_IMPORTS = 7
"""Modules of Serval that nine modules out of ten import at most, apart from those that compose."""
LONGER_RUST_MODULES: dict[str, str] = {}
"""Modules with more lines of product code than that, and why each is one module: five at most."""


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


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
    found = any(re.match(r"serval\._native\b", name) for name in imports_of(tree_of(path)))
    assert may_import or not found


@pytest.mark.parametrize("path", [*MODULES, *TESTS], ids=name_of)
def test_a_module_opens_with_one_sentence(path: Path) -> None:
    docstring = ast.get_docstring(tree_of(path)) or ""
    opening, _, rest = docstring.partition("\n")
    assert re.fullmatch(r"\S.*[.:?]", opening), "the first line of a module is a sentence about it"
    assert not rest.strip() or rest.startswith("\n"), "one sentence is one line"


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("__init__.py")), ids=name_of)
def test_an_init_is_empty_but_for_the_version(path: Path) -> None:
    assert re.fullmatch(r'(__version__ = "[^"]+"\n)?', path.read_text())


@cache
def names_of_tests() -> set[str]:
    return {name for path in TESTS if not is_support(path) for name in module_names(path)}


@pytest.mark.parametrize("path", TESTS, ids=name_of)
def test_tests_share_support_modules_and_import_no_tests(path: Path) -> None:
    imported = set(imports_of(tree_of(path)))
    assert {name for name in imported if {name, name.rpartition(".")[0]} & names_of_tests()} == set()


@pytest.mark.parametrize("path", [path for path in TESTS if not is_support(path)], ids=name_of)
def test_a_module_among_the_tests_has_tests_or_fixtures(path: Path) -> None:
    assert path.name.startswith("test_") or path.name == "conftest.py"


def test_module_names_are_meaningful() -> None:
    names = {path: set(path.relative_to(PACKAGE).with_suffix("").parts) for path in MODULES}
    assert [
        name_of(path) for path, parts in names.items() if parts & NAMES_THAT_SAY_NOTHING or path.name == "models.py"
    ] == []


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_python_module_has_at_most_300_lines(path: Path) -> None:
    assert path.read_text().count("\n") <= MAX_PYTHON_LINES


def composes(path: Path) -> bool:
    """Whether a module only puts others together: the wiring, the core, the `feature.py` of a folder."""
    return path.name == "feature.py" or path in {PACKAGE / "wiring.py", PACKAGE / "core.py"}


def own_imports(path: Path) -> set[str]:
    """The modules of Serval that a module imports."""
    modules = {".".join(module.relative_to(PACKAGE.parent).with_suffix("").parts) for module in MODULES}
    names = set(imports_of(tree_of(path)))
    return {name if name in modules else name.rpartition(".")[0] for name in names if name.startswith("serval.")}


def test_nine_modules_out_of_ten_import_at_most_seven_of_ours() -> None:
    modules = [path for path in MODULES if "migrations" not in path.parts and not composes(path)]
    counts = sorted(len(own_imports(path)) for path in modules)
    assert counts[len(counts) * 9 // 10] <= MAX_OWN_IMPORTS


@pytest.mark.parametrize(
    "path", [path for path in MODULES if path.name == "routes.py" or path.parent.name == "http"], ids=name_of
)
def test_routes_keep_their_annotations_for_the_framework(path: Path) -> None:
    names = list(imports_of(tree_of(path)))
    assert "__future__.annotations" not in names
    assert "typing.TYPE_CHECKING" not in names


def rust_code(path: Path) -> str:
    """A module without its tests."""
    return re.split(r"^#\[cfg\(test\)\]\n(?:pub )?mod \w+ \{", path.read_text(), maxsplit=1, flags=re.MULTILINE)[0]


def use_paths(tree: str) -> Iterator[str]:
    """The paths of a `use` tree: of `a::{b, c::{d, e}}` these are `a::b`, `a::c::d` and `a::c::e`."""
    prefix, opening, rest = tree.partition("{")
    if not opening:
        yield re.sub(r"\s+as\s+\w+$", "", tree.strip())
        return
    for branch in split_at_commas(rest[: rest.rindex("}")]):
        yield from (prefix.strip() + path for path in use_paths(branch))


def split_at_commas(branches: str) -> list[str]:
    """What commas outside of braces separate."""
    parts, depth = [""], 0
    for letter in branches:
        depth += {"{": 1, "}": -1}.get(letter, 0)
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return [part for part in parts if part.strip()]


def rust_paths(code: str) -> Iterator[str]:
    """All paths that a module names from the crate's root or from the module above, in `use` and elsewhere."""
    code = re.sub(r"//.*", "", code)
    uses = re.compile(r"^\s*(?:pub(?:\([^)]*\))? )?use ([^;]+);", re.MULTILINE)
    for use in uses.finditer(code):
        yield from use_paths(use[1])
    yield from re.findall(r"\b(?:crate|super)(?:::\w+)+", uses.sub("", code))


def rust_module(path: Path) -> tuple[str, ...]:
    """The path of a module in its crate."""
    parts = path.relative_to(RUST).with_suffix("").parts
    return parts[:-1] if parts[-1] == "mod" else () if parts == ("lib",) else parts


def absolute_rust_path(module: tuple[str, ...], path: str) -> tuple[str, ...]:
    """A path with `crate` or some `super` in front, from the root of the crate; empty for another one."""
    first, *rest = path.split("::")
    if first == "crate":
        return tuple(rest)
    if first != "super":
        return ()
    while rest[:1] == ["super"]:
        module, rest = module[:-1], rest[1:]
    return (*module[:-1], *rest)


def imported_rust_modules(path: Path, modules: set[tuple[str, ...]]) -> set[tuple[str, ...]]:
    """The modules that one imports: of each path the longest part that is a module."""
    module = rust_module(path)
    paths = [absolute_rust_path(module, name) for name in rust_paths(rust_code(path))]
    prefixes = [[name[:length] for length in range(len(name), 0, -1) if name[:length] in modules] for name in paths]
    return {found[0] for found in prefixes if found} - {module}


def test_the_files_of_the_rust_core_import_each_other_without_a_circle() -> None:
    modules = {rust_module(path) for path in RUST_MODULES}
    imported = {rust_module(path): imported_rust_modules(path, modules) for path in RUST_MODULES}
    assert ("compute", "workers") in imported[("compute", "pool")], "imports are found"
    try:
        TopologicalSorter(imported).prepare()
    except CycleError as error:
        circle = ["::".join(module) for module in error.args[1]]
        pytest.fail(f"a circle of files: {' <- '.join(circle)}")


@pytest.mark.parametrize("path", RUST_MODULES, ids=name_of)
def test_a_rust_module_has_at_most_400_lines_of_product_code(path: Path) -> None:
    assert rust_code(path).count("\n") <= MAX_RUST_LINES or name_of(path) in LONGER_RUST_MODULES


def test_longer_rust_modules_are_few_and_longer() -> None:
    longer = {name_of(path) for path in RUST_MODULES if rust_code(path).count("\n") > MAX_RUST_LINES}
    assert set(LONGER_RUST_MODULES) <= longer
    assert len(LONGER_RUST_MODULES) <= 5
