"""A kind of refusal: its sentence, its cause and a way out, as the catalogue in the documentation lists them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from serval.errors import ServalError


@dataclass(frozen=True)
class Kind:
    """One sentence by which a file is refused or a version held.

    `error`: what is raised with it; None for a sentence that is only stored. `problem` and `way_out` are the two halves
    of the sentence, with placeholders in braces. `cause`: what leads to it, for the catalogue.
    """

    error: type[ServalError] | None
    problem: str
    way_out: str
    cause: str

    @property
    def sentence(self) -> str:
        return f"{self.problem}: {self.way_out}."

    def text(self, **values: object) -> str:
        """The sentence with its placeholders filled. Raises KeyError for one without a value."""
        return self.sentence.format(**values)

    def __call__(self, **values: object) -> ServalError:
        """The error with this sentence."""
        if self.error is None:
            raise TypeError("no error has this sentence")
        return self.error(self.text(**values))

    def of(self, part: Any, **values: object) -> Refused:
        """The exception for a fitted estimator, whose class and place fill `{estimator}`; `column`: its index among the
        columns that the estimator takes."""
        return Refused(self, part, values)


class Refused(Exception):
    """A part of a model is refused; its place is found where the whole model is known.

    `part`: the fitted estimator, None where the caller's caller knows it. `values`: of all placeholders but
    `{estimator}`.
    """

    def __init__(self, kind: Kind, part: Any, values: dict[str, object]) -> None:
        super().__init__(kind.problem)
        self.kind = kind
        self.part = part
        self.values = values
