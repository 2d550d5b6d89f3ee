"""The client's package stands alone, and on Python 3.9."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import serval_client

ROOT = Path(serval_client.__file__).parent
MODULES = sorted(ROOT.glob("*.py"))
DEPENDENCIES = {"anyio", "httpx2", "msgspec"}
OF_THE_USER = {"joblib", "numpy", "pandas", "sklearn"}
"""Packages of everybody who has a fitted model; imported where they are used."""


def imports_of(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "").partition(".")[0]


def test_three_dependencies_are_declared() -> None:
    project = tomllib.loads((ROOT.parent / "pyproject.toml").read_text())["project"]
    assert {re.split(r"[^\w-]", each)[0] for each in project["dependencies"]} == DEPENDENCIES
    assert project["version"] == serval_client.__version__


def test_the_server_depends_on_this_version() -> None:
    project = tomllib.loads((ROOT.parents[1] / "pyproject.toml").read_text())["project"]
    (required,) = [Requirement(each) for each in project["dependencies"] if each.startswith("serval-client")]
    assert required.specifier.contains(serval_client.__version__)
    locked = (ROOT.parents[1] / "requirements" / "serval.txt").read_text()
    assert all(f"\n{name}==" in locked for name in DEPENDENCIES)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_a_module_is_short_begins_with_a_sentence_and_parses_on_python_3_9(path: Path) -> None:
    tree = ast.parse(path.read_text(), feature_version=(3, 9))
    assert re.match(r"\S.*[.:]$", (ast.get_docstring(tree) or "").partition("\n")[0])
    assert path.read_text().count("\n") <= 300


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_a_module_imports_nothing_of_the_server(path: Path) -> None:
    foreign = set(imports_of(ast.parse(path.read_text()))) - sys.stdlib_module_names
    assert foreign <= {"serval_client", "typing_extensions"} | DEPENDENCIES | OF_THE_USER


def test_an_import_loads_no_library_of_the_user_and_makes_no_client() -> None:
    script = (
        "import sys, serval_client\n"
        f"assert not {OF_THE_USER | {'typing_extensions', 'serval'}} & set(sys.modules) - set(before), sys.modules\n"
    )
    script = "import anyio, httpx2, msgspec, sys\nbefore = list(sys.modules)\n" + script
    subprocess.run([sys.executable, "-c", script], cwd=ROOT.parent, check=True, timeout=60)
