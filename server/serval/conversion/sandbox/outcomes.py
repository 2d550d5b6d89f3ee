"""The answer of a confined process that has ended, or the error that explains why there is none."""

import logging
import signal

import msgspec

from serval import errors
from serval.conversion.refusals import of_outcomes
from serval.conversion.sandbox.confined_process import VIOLATIONS, ProcessEnd
from serval.conversion.sandbox.limits import Limits, human_size
from serval.conversion.sandbox.protocol import Done, Failed, Outcome
from serval.errors import ServalError

log = logging.getLogger(__name__)

TASK_ERRORS = (
    errors.BadRequest,
    errors.InvalidFeatures,
    errors.TooLarge,
    errors.UnsupportedContent,
    errors.Unprocessable,
    errors.NotAModel,
    errors.NotAPredictor,
    errors.NotConvertible,
    errors.NotVerified,
)
NO_MODEL_S_CALL = "tried to start a process, or another call that no model needs"
BY_CODE: dict[str, type[ServalError]] = {error.code: error for error in TASK_ERRORS}
"""The errors that a task may report about the file; any other code is refused."""


def answer_of(end: ProcessEnd, limits: Limits) -> bytes:
    """The answer of a process. Raises SandboxViolation and what tasks report."""
    if reason := stop_reason(end, limits):
        log_output(end, logging.INFO)
        raise stopped(reason)
    outcome = outcome_in(end.answer)
    if isinstance(outcome, Done):
        log_output(end, logging.DEBUG)  # libraries print much; only a run without an answer makes it worth reading
        return outcome.answer
    log_output(end, logging.INFO)
    raise error_of(outcome, limits)


def stopped(reason: str) -> ServalError:
    """The error of a process that was stopped or died; `reason`: the rest of a sentence that begins with the file."""
    if reason in VIOLATIONS.values() or reason == NO_MODEL_S_CALL:
        return of_outcomes.FORBIDDEN(what=reason)
    if reason.startswith("ran past") or reason.endswith("of CPU"):
        return of_outcomes.TOO_SLOW(what=reason)
    is_limit = reason.startswith(("answered with more", "printed more", "started more"))
    return (of_outcomes.TOO_MUCH if is_limit else of_outcomes.ENDED)(what=reason)


def log_output(end: ProcessEnd, level: int) -> None:
    """Log what a process printed and which of its calls were refused, in one escaped line."""
    if end.log or end.violations:
        output = end.log.decode("utf-8", "replace")
        log.log(level, "a confined process printed %r, and these calls were refused: %r", output, end.violations)


def stop_reason(end: ProcessEnd, limits: Limits) -> str | None:
    """The violation, limit or crash that ended it; violations first, because they are the most specific."""
    for letter in end.violations:
        if violation := VIOLATIONS.get(letter):
            return violation
    if end.stop_reason:
        return end.stop_reason
    if end.status == -signal.SIGXCPU or (end.status == -signal.SIGKILL and end.cpu_seconds >= limits.cpu_seconds):
        return f"used more than {limits.cpu_seconds} s of CPU"
    if end.status == -signal.SIGSYS:
        return NO_MODEL_S_CALL
    if end.status < 0:
        return f"crashed with signal {signal_name(-end.status)}"
    return f"ended its process with status {end.status}" if end.status else None


def signal_name(number: int) -> str:
    """`SIGSEGV`; the number if it has no name, as most real-time signals."""
    return signal.Signals(number).name if number in set(signal.Signals) else str(number)


def outcome_in(answer: bytes) -> Outcome:
    try:
        outcome: Outcome = msgspec.msgpack.decode(answer, type=Outcome)
    except (msgspec.MsgspecError, ValueError, RecursionError):  # a broken string is a ValueError
        raise of_outcomes.ENDED(what="ended its process without one well-formed answer") from None
    return outcome


def error_of(failed: Failed, limits: Limits) -> ServalError:
    """The error that a task's report stands for."""
    message = printable(failed.message)
    if failed.code == "memory":
        return of_outcomes.TOO_MUCH_MEMORY(limit=human_size(limits.memory_bytes))
    if failed.code == "refused":
        return of_outcomes.FORBIDDEN_ACCESS(what=message)
    if failed.code == "unexpected":
        return of_outcomes.UNEXPECTED(task=message)
    if error := BY_CODE.get(failed.code):
        return error(message)
    return of_outcomes.FORGED(what="answered with an unknown report")


def printable(text: str) -> str:
    """One line without control or direction characters, at most 2000 long."""
    return "".join(character if character.isprintable() else " " for character in text[:2000])
