"""`client.models`: push models, and see those there are."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Callable, TypeVar

import msgspec

from serval_client.errors import NotFound, Problem, Refused
from serval_client.expected import sample_fields
from serval_client.files import ModelFile
from serval_client.operations import Call, Noun, Patience, Pause, Performer, Steps, Work, operation
from serval_client.paths import model_path, segment, version_path
from serval_client.progress import Progress, Show, shown
from serval_client.registry import Examination, Model, ModelList, Version, VersionList
from serval_client.responses import value_of

T = TypeVar("T")

HELD_SECONDS = 10
"""For how long the server may hold a request for the state of a conversion; then its stage is shown."""
FIRST_PAUSE_SECONDS = 0.5
EXAMINED_SECONDS = 300.0
"""For how long an examination may last."""
WAITING = Patience(retry_seconds=60.0, refused_seconds=60.0)
"""While a conversion is waited for, the server may be away for so long: it goes on with it when it is back."""


class Models(Noun[Performer]):
    """The models of a server."""

    @operation
    def list(self) -> Steps[Sequence[Model]]:
        """The models that you may see."""
        found = yield from value_of(Call("GET", "/api/v1/models"), ModelList, self._patience)
        return found.items

    @operation
    def show(self, model: str) -> Steps[Model]:
        """One model, by its id, its name or `owner/name`. Raises NotFound."""
        return (yield from value_of(Call("GET", (yield from self._path_of(model))), Model, self._patience))

    @operation
    def versions(self, model: str) -> Steps[Sequence[Version]]:
        """The versions of a model, newest first. Raises NotFound."""
        call = Call("GET", f"{(yield from self._path_of(model))}/versions")
        return (yield from value_of(call, VersionList, self._patience)).items

    @operation
    def version(self, model: str, number: int) -> Steps[Version]:
        """One version of a model. Raises NotFound."""
        call = Call("GET", f"{(yield from self._path_of(model))}/versions/{number}")
        return (yield from value_of(call, Version, self._patience))

    @operation
    def push(
        self,
        model: Any,
        *,
        name: str,
        sample: Any = None,
        expected_answers: bool = True,
        columns: Sequence[str] | None = None,
        description: str | None = None,
        allow_schema_change: bool = False,
        progress: Show | None = None,
    ) -> Steps[Version]:
        """Upload a fitted model, and wait until the server has converted and verified it.

        `model`: a fitted scikit-learn estimator, or the path of its file. The server runs neither as itself: it
        converts them in a confined process.

        `sample`: rows that the model's `predict` takes, or the path of a CSV or JSON file with some. The model predicts
        up to 300 of them here, and the server must come to the same answers; a path is loaded for that, which runs the
        code in the file. Without a sample the server chooses rows by itself. `expected_answers=False` sends the sample
        as it is: a list of dicts may hold a `prediction` and `probabilities` each. A `Sample` always is.

        `columns`: names for the columns of a model that was fitted on an array. `allow_schema_change`: go live although
        the columns differ from those of the live version. `progress` gets each moment of the push; by default a
        terminal shows it.

        The version that is returned is live, or held for the reason `held`. Raises Refused if the server cannot serve
        the model, and what the model raises.
        """
        call = upload_call(name=name, description=description, columns=columns, allow_schema_change=allow_schema_change)
        answering = answering_of(model, sample, columns, expected_answers)
        with shown(progress) as show:
            version = yield from self._sent(call, Version, model, answering, show)
            version = yield from self._end_of(version, show)
        return served(version)

    @operation
    def upload(
        self,
        model: Any,
        *,
        name: str,
        sample: Any = None,
        expected_answers: bool = True,
        columns: Sequence[str] | None = None,
        description: str | None = None,
        allow_schema_change: bool = False,
        progress: Show | None = None,
    ) -> Steps[Version]:
        """Upload a fitted model as `push` does, without waiting for its conversion; `wait` waits for it."""
        call = upload_call(name=name, description=description, columns=columns, allow_schema_change=allow_schema_change)
        answering = answering_of(model, sample, columns, expected_answers)
        with shown(progress) as show:
            return (yield from self._sent(call, Version, model, answering, show))

    @operation
    def check(
        self,
        model: Any,
        *,
        sample: Any = None,
        expected_answers: bool = True,
        columns: Sequence[str] | None = None,
        progress: Show | None = None,
    ) -> Steps[Examination]:
        """What would become of a model, with the arguments of `push`; nothing is stored."""
        fields = form_fields(columns=columns)
        call = Call("POST", "/api/v1/storage/validate", fields=fields, held_seconds=EXAMINED_SECONDS)
        answering = answering_of(model, sample, columns, expected_answers)
        with shown(progress) as show:
            return (yield from self._sent(call, Examination, model, answering, show))

    @operation
    def wait(self, version: Version, *, progress: Show | None = None) -> Steps[Version]:
        """Wait until the conversion of a version has ended, as `push` does. Raises Refused."""
        with shown(progress) as show:
            version = yield from self._end_of(version, show)
        return served(version)

    @operation
    def promote(self, model: str, number: int, *, allow_schema_change: bool = False) -> Steps[Version]:
        """Make a version the live one, also one that is held. Raises Conflict with the reason if that is refused."""
        body = msgspec.json.encode({"allow_schema_change": allow_schema_change})
        path = f"{(yield from self._path_of(model))}/versions/{number}/promote"
        call = Call("POST", path, content=body, content_type="application/json")
        return (yield from value_of(call, Version, self._patience))

    @operation
    def rollback(self, model: str) -> Steps[Version]:
        """Make the version live again that was live before. Raises Conflict if there is none."""
        call = Call("POST", f"{(yield from self._path_of(model))}/rollback", is_repeatable=False)
        return (yield from value_of(call, Version, self._patience))

    def _path_of(self, model: str) -> Steps[str]:
        """The path of a model, which for `owner/name` has the id that a list says. Raises NotFound."""
        owner, slash, name = model.partition("/")
        if not slash:
            return model_path(model)
        for part in (owner, name):
            segment(part)
        found = yield from value_of(Call("GET", "/api/v1/models"), ModelList, self._patience)
        for each in found.items:
            if (each.owner, each.name) == (owner, name):
                return model_path(each.id)
        raise NotFound(Problem(status=404, code="not_found", detail=f"There is no model `{model}` that you may see."))

    def _sent(
        self, call: Call, kind: type[T], model: Any, answering: Callable[[], Mapping[str, str]] | None, show: Show
    ) -> Steps[T]:
        """The response to a form with the file of a model, and with what `answering` returns of its sample."""
        fields = dict(call.fields or {})
        if answering is not None:
            show(Progress("asking the model"))
            fields.update((yield Work(answering)))
        show(Progress("saving the model"))
        with (yield Work(partial(ModelFile.of, model, show))) as file:
            return (yield from value_of(call._replace(fields=fields, file=file), kind, self._patience))

    def _end_of(self, version: Version, show: Show) -> Steps[Version]:
        """Wait by requests that the server holds; neither a lost connection nor a restart of the server ends it."""
        pause = FIRST_PAUSE_SECONDS
        while not version.has_ended:
            show(Progress(version.status))
            began = time.monotonic()
            call = Call(
                "GET",
                version_path(version.model_id, version.version),
                prefer=f"wait={HELD_SECONDS}",
                held_seconds=HELD_SECONDS,
            )
            version = yield from value_of(call, Version, WAITING)
            if not version.has_ended and time.monotonic() - began < HELD_SECONDS / 2:
                yield Pause(pause)  # another server of the same database converts it
                pause = min(2 * pause, HELD_SECONDS)
        return version


def form_fields(**given: Any) -> dict[str, str]:
    """The fields of a form that were given: a text as it is, others as JSON."""
    return {
        name: value if isinstance(value, str) else msgspec.json.encode(value).decode()
        for name, value in given.items()
        if value is not None
    }


def upload_call(**given: Any) -> Call:
    """The call of an upload, with the fields of its form that were given."""
    return Call("POST", "/api/v1/models/upload", fields=form_fields(**given), prefer="wait=0", is_repeatable=False)


def answering_of(
    model: Any, sample: Any, columns: Sequence[str] | None, expected_answers: bool
) -> Callable[[], Mapping[str, str]] | None:
    """What makes the fields `sample` and `expected_with` of a form; None without a sample."""
    return None if sample is None else partial(sample_fields, model, sample, columns, expected_answers)


def served(version: Version) -> Version:
    """A version that is ready. Raises Refused with the reason of one that has failed."""
    if version.failure is not None:
        raise Refused(Problem(status=422, code=version.failure.code, detail=version.failure.message))
    return version
