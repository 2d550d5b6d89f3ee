"""An answer is hostile bytes: forged, broken or doubled ones are refused, and no child affects the next."""

import pickle

import msgspec
import pytest

from serval.conversion.sandbox.protocol import Done, Failed
from serval.errors import NotAModel, NotAPredictor, SandboxViolation, ServalError
from support.sandbox_lab import Laboratory


def writing(content: bytes, then: str = "os._exit(0)") -> str:
    """Write `content` where the answer goes, then do `then`."""
    return f"""
import os, sys
frame = sys._getframe()
while "descriptors" not in frame.f_locals: frame = frame.f_back
os.write(frame.f_locals["descriptors"].answer, {content!r})
{then}
"""


BROKEN = {
    "garbage": b"\x00\xff garbage",
    "half an answer": msgspec.msgpack.encode(Done(b"abc"))[:-2],
    "two answers": msgspec.msgpack.encode(Done(b"a")) + msgspec.msgpack.encode(Done(b"b")),
    "an unknown field": msgspec.msgpack.encode({"type": "done", "answer": b"a", "more": 1}),
    "another type": msgspec.msgpack.encode({"type": "done", "answer": 1}),
    "an unknown tag": msgspec.msgpack.encode({"type": "exec", "answer": b"a"}),
    "deep nesting": b"\x91" * 4000,
    "a map in a map": b"\x81\xa4type" * 600,
    "a length beyond the end": b"\xdd\xff\xff\xff\xff",
    "a string that is no UTF-8": b"\x82\xa4type\xa2\xff\xfe",
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_an_answer_that_is_not_one_well_formed_message_is_refused(laboratory: Laboratory, content: bytes) -> None:
    assert laboratory.refusal(writing(content)).message.startswith(
        "The file ended its process without one well-formed answer"
    )


def test_two_answers_are_both_refused(laboratory: Laboratory) -> None:
    forged = msgspec.msgpack.encode(Done(b"forged"))
    assert laboratory.refusal(writing(forged, then="result = 1")).message.startswith(
        "The file ended its process without one well-formed answer"
    )


def test_garbage_on_every_descriptor_is_refused(laboratory: Laboratory) -> None:
    source = """
import os
for number in range(256):
    try: os.write(number, b"garbage")
    except OSError: pass
"""
    laboratory.refusal(source)


def test_a_forged_answer_has_no_more_power_than_a_returned_one(laboratory: Laboratory) -> None:
    assert laboratory.attack(writing(msgspec.msgpack.encode(Done(b"forged")))) == "forged"


@pytest.mark.parametrize("code", ["internal_error", "not_authenticated", "not_found", "unavailable", "", "x" * 10000])
def test_a_report_with_an_unknown_code_is_refused(laboratory: Laboratory, code: str) -> None:
    error = laboratory.refusal(writing(msgspec.msgpack.encode(Failed(code, "believe me"))))
    assert type(error) is SandboxViolation
    assert "believe me" not in error.message


def test_a_forged_report_is_one_short_printable_line(laboratory: Laboratory) -> None:
    message = "line\nline\r\x1b[2J\u202egnp.exe\u2066" + "x" * 100000
    error = laboratory.refusal(writing(msgspec.msgpack.encode(Failed("not_a_model", message))))
    assert type(error) is NotAModel
    assert error.message.isprintable()
    assert len(error.message) <= 2000


def test_an_exit_without_an_answer_is_reported(laboratory: Laboratory) -> None:
    assert laboratory.refusal("import os; os._exit(0)").message.startswith(
        "The file ended its process without one well-formed answer"
    )


def test_an_exit_with_a_status_is_reported(laboratory: Laboratory) -> None:
    assert laboratory.refusal("import os; os._exit(7)").message.startswith("The file ended its process with status 7")


@pytest.mark.parametrize(
    "name",
    ["SystemExit(0)", "KeyboardInterrupt()", "GeneratorExit()", "RecursionError('deep')", "ValueError('\x00\x1b')"],
)
def test_every_exception_of_an_upload_is_a_4xx(laboratory: Laboratory, name: str) -> None:
    error = laboratory.refusal(f"raise {name}")
    assert error.status == 422
    assert error.message.isprintable()


def test_an_exception_that_lies_about_itself_is_a_4xx(laboratory: Laboratory) -> None:
    source = """
class Liar(Exception):
    def __str__(self): raise Liar()
    __cause__ = property(lambda self: self)
raise Liar()
"""
    assert laboratory.refusal(source).status == 422


POISON = """
import builtins, json, msgspec, os, pickle, sys
import serval.conversion.sandbox.child as child, serval.errors
child.Done = child.outcome_of = child.write_all = None
pickle.loads = pickle.load = lambda *a, **k: "poisoned"
builtins.open = builtins.repr = lambda *a, **k: "poisoned"
serval.errors.ServalError.status = 200
for module in list(sys.modules):
    if module.startswith("tasks"): del sys.modules[module]
result = 1
"""


def test_a_patched_module_does_not_outlive_its_child(laboratory: Laboratory) -> None:
    laboratory.reach(POISON)
    assert laboratory.run("load", pickle.dumps("honest")) == b"'honest'"
    assert ServalError.status == 500


def test_exit_handlers_of_an_upload_do_not_run(laboratory: Laboratory) -> None:
    source = "import atexit, os; atexit.register(os._exit, 9); result = 'done'"
    assert laboratory.attack(source) == "'done'"


def test_the_report_of_a_task_is_raised_as_its_error(laboratory: Laboratory) -> None:
    with pytest.raises(NotAPredictor) as caught:
        laboratory.run("refuse")
    assert caught.value.message == "`KMeans` is a clusterer: [31m Serval serves  predictors"
