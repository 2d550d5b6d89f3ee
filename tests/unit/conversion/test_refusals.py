"""Each refusal of the catalogue names its place, and its way out ends with a model that would go live."""

import ast
import pickle
import re
import warnings
from pathlib import Path
from typing import Any

import pytest

import serval
from serval.conversion.freeze import FreezeRequest, Frozen, freeze
from serval.conversion.refusals.catalogue import known_kinds
from serval.conversion.refusals.kind import Kind
from serval.errors import ServalError
from support import refused_answers, refused_files, refused_models, refused_steps
from support.in_process import InProcessSandbox
from support.refusal_cases import Case

pytestmark = pytest.mark.anyio
NAMES = {id(kind): name for name, kind in known_kinds().items()}
CASES = [*refused_files.CASES, *refused_models.CASES, *refused_steps.CASES, *refused_answers.CASES]
CONVERSION = Path(serval.__file__).parent / "conversion"
RAW = re.compile(r"\b\w+(Error|Exception|Warning)\b|object at 0x|Traceback")


def name_of(value: Any) -> str | None:
    return NAMES[id(value)] if isinstance(value, Kind) else ""


def says(kind: Kind, message: str) -> bool:
    """Whether a message is the sentence of this kind, whatever its placeholders hold."""
    pattern = re.sub(r"\\\{(\w+)\\\}", ".*?", re.escape(kind.sentence.replace("{{", "<").replace("}}", ">")))
    return re.fullmatch(pattern.replace("<", r"\{").replace(">", r"\}"), message, re.DOTALL) is not None


async def frozen(content: Any, folder: Path, **request: Any) -> Frozen:
    path = folder / "model.pkl"
    path.write_bytes(content if isinstance(content, bytes) else pickle.dumps(content))

    async def stage(_: str) -> None:
        pass

    return await freeze(InProcessSandbox(), path, FreezeRequest(**request), stage)


async def refusal(case: Case, built: Any, folder: Path) -> ServalError | str | None:
    """The error of a refused case; why the version is held where it is not refused."""
    try:
        if case.ask is not None:
            case.ask(built)
        else:
            return (await frozen(built, folder, **(case.request or {}))).report.hold_reason
    except ServalError as error:
        return error
    return None


async def message_of(kind: Kind, case: Case, built: Any, folder: Path) -> str:
    """The sentence that refuses a case, after a look at its kind and its place."""
    found = await refusal(case, built, folder)
    message = found.message if isinstance(found, ServalError) else found
    assert message is not None
    assert says(kind, message), message
    assert case.place in message
    assert not RAW.search(message)
    assert kind.error is None or type(found) is kind.error
    return message


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("kind", "case"), CASES, ids=name_of)
async def test_a_refusal_is_a_sentence_of_the_catalogue_with_its_place(kind: Kind, case: Case, tmp_path: Path) -> None:
    await message_of(kind, case, case.build(), tmp_path)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("kind", "case"), CASES, ids=name_of)
async def test_the_way_out_of_a_refusal_ends_with_a_model_that_goes_live(
    kind: Kind, case: Case, tmp_path: Path
) -> None:
    built = case.build()
    message = await message_of(kind, case, built, tmp_path)
    if case.follow is None:
        assert "alone" in kind.way_out
        return
    with warnings.catch_warnings(action="ignore"):
        followed = case.follow(built, message)
    report = (await frozen(followed, tmp_path, **(case.then or {}))).report
    assert (report.agreement, report.hold_reason) == (1.0, None)


def test_each_kind_of_refusal_has_a_case() -> None:
    assert set(known_kinds()) - {NAMES[id(kind)] for kind, _ in CASES} == set()


@pytest.mark.parametrize("path", sorted(CONVERSION.rglob("*.py")), ids=lambda path: str(path.relative_to(CONVERSION)))
def test_no_refusal_is_written_outside_the_catalogue(path: Path) -> None:
    refusing = {"NotAModel", "NotAPredictor", "NotConvertible", "NotVerified", "SandboxViolation", "Unprocessable"}
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    called = {node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "") for node in calls}
    assert called & {*refusing, "InvalidFeatures"} == set()


def test_each_kind_is_used() -> None:
    code = "\n".join(path.read_text() for path in CONVERSION.rglob("*.py") if path.parent.name != "refusals")
    places = (CONVERSION / "refusals" / "places.py").read_text()
    assert [name for name in known_kinds() if not re.search(rf"\b{name}\b", code + places)] == []
