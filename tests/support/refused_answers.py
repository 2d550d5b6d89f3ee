"""Files that are refused by what they did or answered, and samples that do not fit, by the kind of the refusal."""

import pickle
import signal
import time
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from serval.conversion import messages, tasks
from serval.conversion.expected import Expected
from serval.conversion.from_sklearn import answered_rows
from serval.conversion.refusals import of_outcomes
from serval.conversion.refusals.kind import Kind
from serval.conversion.reporting import verified_report
from serval.conversion.rows import Answers
from serval.conversion.sandbox.confined_process import ProcessEnd
from serval.conversion.sandbox.limits import Limits
from serval.conversion.sandbox.outcomes import answer_of
from serval.conversion.sandbox.protocol import Done, Failed
from support.refusal_cases import FRAME, TARGET, Case, Version, X, Y, again, logistic

ROWS = X[::20].tolist()
LIMITS = Limits(memory_bytes=256 << 20, cpu_seconds=10)


def ended(**changes: Any) -> Callable[[Any], None]:
    """The answer of a confined process that ended so."""
    clean = ProcessEnd(
        stop_reason=None, status=0, cpu_seconds=0.1, violations="", answer=msgspec.msgpack.encode(Done(b"yes")), log=b""
    )

    def ask(_: Any) -> None:
        answer_of(msgspec.structs.replace(clean, **changes), LIMITS)

    return ask


def reported(code: str, message: str = "") -> Callable[[Any], None]:
    return ended(answer=msgspec.msgpack.encode(Failed(code, message)))


def verified(change: Callable[[Answers], tuple[Answers, Answers]]) -> Callable[[Any], None]:
    """The report for answers of original and graph that were changed."""

    def ask(model: Any) -> None:
        request = messages.ConvertRequest(1 << 30, None, [], False)
        answer = tasks.convert(pickle.dumps(model), messages.encode(request))
        _, rows, answers = answered_rows(model, 50)
        conversion = msgspec.msgpack.decode(answer, type=messages.Conversion)
        verified_report(conversion, rows, *change(answers), None, time.monotonic())

    return ask


def far_off(answers: Answers) -> tuple[Answers, Answers]:
    return answers, Answers(answers.labels, answers.scores + 0.1, answers.margins, answers.is_answered)


def unanswered(answers: Answers) -> tuple[Answers, Answers]:
    nothing = np.zeros_like(answers.is_answered)
    return Answers(answers.labels, answers.scores, answers.margins, nothing), answers


def encoder() -> Any:
    return make_pipeline(OneHotEncoder(handle_unknown="ignore"), LogisticRegression()).fit(FRAME[["plan"]], TARGET)


def of_version_2() -> bytes:
    with Version("2.0.0"):
        return pickle.dumps(logistic())


def same(built: Any, _: str) -> Any:
    return built


def outcome(kind: Kind, place: str, ask: Callable[[Any], None]) -> tuple[Kind, Case]:
    """A case whose way out is to save the fitted model, or a smaller one."""
    return kind, Case(logistic, same, place, ask=ask)


def sampled(kind: Kind, place: str, row: Any, build: Any = encoder, then: Any = None) -> tuple[Kind, Case]:
    """A case whose way out is another row of the sample."""
    return kind, Case(build, same, place, request={"sample": [row]}, then={"sample": [then or {"plan": "a"}]})


CASES: list[tuple[Kind, Case]] = [
    outcome(of_outcomes.FORBIDDEN, "open a connection", ended(violations="c")),
    outcome(of_outcomes.FORBIDDEN, "another call that no model needs", ended(status=-signal.SIGSYS)),
    outcome(of_outcomes.FORBIDDEN_ACCESS, "/etc/passwd", reported("refused", "/etc/passwd")),
    outcome(of_outcomes.TOO_MUCH_MEMORY, "256 MiB", reported("memory")),
    outcome(of_outcomes.TOO_SLOW, "10 s of CPU", ended(status=-signal.SIGXCPU)),
    outcome(of_outcomes.TOO_SLOW, "2 s", ended(stop_reason="ran past 2 s")),
    outcome(of_outcomes.TOO_MUCH, "1 GiB", ended(stop_reason="answered with more than 1 GiB")),
    outcome(of_outcomes.ENDED, "SIGSEGV", ended(status=-signal.SIGSEGV)),
    outcome(of_outcomes.ENDED, "status 3", ended(status=3)),
    outcome(of_outcomes.FORGED, "unknown report", reported("nonsense")),
    outcome(of_outcomes.UNEXPECTED, "convert", reported("unexpected", "convert")),
    (
        of_outcomes.NOT_VERIFIED,
        Case(
            logistic,
            again(lambda: make_pipeline(StandardScaler(), LogisticRegression()).fit(X, Y)),
            "`LogisticRegression`",
            ask=verified(far_off),
        ),
    ),
    (
        of_outcomes.ONLY_REFUSALS,
        Case(logistic, same, "`LogisticRegression`", then={"sample": ROWS}, ask=verified(unanswered)),
    ),
    (
        of_outcomes.NOT_AS_EXPECTED,
        Case(
            logistic,
            same,
            "row 1 (",
            request={"sample": ROWS, "expected": Expected(answers=[2] * len(ROWS))},
            then={"sample": ROWS},
        ),
    ),
    sampled(of_outcomes.SAMPLE_LACKS_COLUMN, "Row 1 of the sample lacks the column `plan`", {}),
    sampled(of_outcomes.SAMPLE_UNKNOWN_COLUMN, "`target`", {"plan": "a", "target": 1}),
    sampled(of_outcomes.SAMPLE_WIDTH, "has 3 values", [1.0] * 3, logistic, ROWS[0]),
    sampled(of_outcomes.SAMPLE_VALUE, "`plan`: expected a string", {"plan": 5}),
    (of_outcomes.HELD_VERSION, Case(of_version_2, again(logistic), "2.0.0")),
]
