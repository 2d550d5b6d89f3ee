"""Refusals of the data plane as Serval's errors."""

from collections.abc import Callable, Mapping
from typing import Protocol

from serval.auth.rate_headers import limit_headers, rate_limited
from serval.errors import (
    BadRequest,
    DeadlineExceeded,
    NotAuthenticated,
    NotFound,
    NotPermitted,
    RateLimited,
    ServalError,
    TooLarge,
    Unavailable,
)
from serval.predictions.exact_json import shown

Arguments = Mapping[str, str]


class RefusalLike(Protocol):
    """A refusal of `serval._native`, or a template of one."""

    @property
    def code(self) -> str: ...

    @property
    def arguments(self) -> Arguments: ...


def refusal_error(refusal: RefusalLike) -> ServalError:
    """Return the error for a refusal. Raises KeyError for an unknown code, which is a bug."""
    return _ERRORS[refusal.code](refusal.arguments)


def _unknown_caller(_: Arguments) -> ServalError:
    return NotAuthenticated(
        "The API key is unknown, expired or revoked; send a valid one as `X-API-Key` or `Authorization: Bearer`."
    )


def _forbidden(arguments: Arguments) -> ServalError:
    if "model" in arguments:
        return NotPermitted(f"This API key is not for the model{_quoted(arguments, 'model')}.")
    return NotPermitted("This API key lacks the scope `predict`.")


def _unknown_model(arguments: Arguments) -> ServalError:
    return NotFound(f"There is no model{_quoted(arguments, 'model')} that you may use; GET /models lists yours.")


def _unknown_version(arguments: Arguments) -> ServalError:
    model = _quoted(arguments, "model")
    if arguments.get("version") == "live":
        return NotFound(f"The model{model} has no live version; promote one, or ask for one with `?version=`.")
    return NotFound(f"The model{model} has no version{_quoted(arguments, 'version')} that answers; see its /versions.")


def _ambiguous_selector(_: Arguments) -> ServalError:
    return BadRequest("Both `version` and `alias` are given: send one of them, or neither for the live version.")


def _no_probabilities(arguments: Arguments) -> ServalError:
    problem = (
        f"version {arguments['version']} of the model has no probabilities. Leave `outputs` out, or upload a classifier"
        " that has `predict_proba` for every class."
    )
    return BadRequest(f"`outputs`: {problem}", errors=[("outputs", problem)])


def _model_loading(arguments: Arguments) -> ServalError:
    return Unavailable(f"The model{_quoted(arguments, 'model')} is being loaded; try again in a second.")


def _queue_full(_: Arguments) -> ServalError:
    return Unavailable("Too many expensive predictions are waiting: try again in a second.")


def _out_of_time(arguments: Arguments) -> ServalError:
    return DeadlineExceeded(
        f"The prediction would take about {arguments['seconds']} s after about {arguments['waiting']} s in the queue, "
        f"and {arguments['limit']} s is the limit (`predict_timeout_seconds`): send fewer rows at a time."
    )


def _too_late(arguments: Arguments) -> ServalError:
    return DeadlineExceeded(f"The prediction did not end within {arguments['limit']} s (`predict_timeout_seconds`).")


def _ran_away(_: Arguments) -> ServalError:
    return DeadlineExceeded(
        "The prediction did not end in time and used far more CPU time than was measured, so the version was "
        "quarantined."
    )


def _too_many_rows(arguments: Arguments) -> ServalError:
    limit = arguments["limit"]
    return TooLarge(
        f"`inputs` has more than the {limit} rows that this server takes in one request. Send them in parts.",
        errors=[("inputs", f"more than {limit} rows")],
    )


def quota_exceeded(arguments: Arguments) -> RateLimited:
    """Return the error of a used-up quota, by its `limit` and `retry_after_seconds`."""
    limit, wait = arguments["limit"], arguments["retry_after_seconds"]
    return RateLimited(
        f"The quota of {limit} predictions a month of this key is used up; it resets in {wait} s.",
        headers={
            "retry-after": wait,
            **limit_headers("quota", limit, window_seconds=wait, remaining=0, reset_seconds=wait),
        },
    )


def _quoted(arguments: Arguments, name: str) -> str:
    """` "iris"`, or nothing where the refusal does not say."""
    return f" {shown(arguments[name])}" if name in arguments else ""


_ERRORS: Mapping[str, Callable[[Arguments], ServalError]] = {
    "unknown_caller": _unknown_caller,
    "forbidden": _forbidden,
    "queue_full": _queue_full,
    "out_of_time": _out_of_time,
    "too_late": _too_late,
    "ran_away": _ran_away,
    "unknown_model": _unknown_model,
    "unknown_version": _unknown_version,
    "ambiguous_selector": _ambiguous_selector,
    "no_probabilities": _no_probabilities,
    "model_loading": _model_loading,
    "too_many_rows": _too_many_rows,
    "rate_limited": rate_limited,
    "quota_exceeded": quota_exceeded,
}
