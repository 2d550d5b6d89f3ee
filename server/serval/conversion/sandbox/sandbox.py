"""Runs a task on an upload in a confined child, within limits, and says which act or limit ended it."""

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import stat
import sysconfig
from collections.abc import Awaitable
from pathlib import Path

import msgspec

from serval import _native, errors
from serval.conversion.sandbox.child import Done, Failed, Outcome
from serval.conversion.sandbox.child_process import ACTS, Child, Ending, Limits, size
from serval.conversion.sandbox.template import Template
from serval.errors import SandboxViolation, ServalError, Unavailable

__all__ = ["Limits", "Sandbox", "closed_folders", "kernel_gap"]

log = logging.getLogger(__name__)

REPORTED = (
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
BY_CODE: dict[str, type[ServalError]] = {error.code: error for error in REPORTED}
"""What a task may report about the file; anything else in its name is not believed."""


class Sandbox:
    """SandboxViolation children, at most `max_children` at a time, each forked for one run from a template that has
    imported
    what it needs."""

    def __init__(
        self,
        *,
        python: str,
        root: Path,
        limits: Limits,
        allow_unconfined: bool,
        max_children: int,
        tasks: Path | None = None,
    ) -> None:
        """`root`: folder for the children's empty folders, the sandbox's alone. `tasks`: a file in place of
        `serval.conversion.tasks`.

        Where the kernel can not confine, `run` raises Unavailable unless `allow_unconfined`.
        """
        self._python = python
        self._root = root
        self._limits = limits
        self._tasks = tasks
        self._slots = asyncio.Semaphore(max_children)
        self._template: asyncio.Task[Template] | None = None
        self._burials: set[asyncio.Task[None]] = set()
        self._gap = kernel_gap()
        self._is_required = not (allow_unconfined and self._gap)
        if closed := closed_folders():
            log.info("uploads can import only what is preloaded: other users can not enter %s", ", ".join(closed))
        if not self._is_required:
            log.warning("uploads run unconfined: %s, and allow_unconfined_conversion is set", self._gap)

    async def start(self, *, preload: bool = True) -> None:
        """Remove what a killed server left. `preload`: import now what runs need, in the background, not when the first
        one comes."""
        for left in self._root.iterdir():
            shutil.rmtree(left)
        if preload:
            self._template = asyncio.create_task(self._begun())

    async def run(self, task: str, upload: Path | None, request: bytes) -> bytes:
        """Run `task` on the file `upload` and return its answer: hostile bytes, to be read with a strict schema.

        Raises SandboxViolation (which act or limit), what the task reports (NotAModel, NotAPredictor, NotConvertible,
        ...),
        Unavailable.
        """
        if self._gap and self._is_required:
            raise Unavailable(
                f"Conversion is refused: {self._gap}. `allow_unconfined_conversion` would run uploads unconfined"
            )
        async with self._slots:
            child = await self._confined(task)
            try:
                child.hand(upload, request)
                ending = await child.ended()
            finally:
                await self._bury(child)
        return answer_of(ending, self._limits)

    async def close(self) -> None:
        """Return when no child and no template is left. Runs under way are their callers' to cancel."""
        await asyncio.gather(*self._burials)
        template, self._template = self._template, None
        if template is not None:
            template.cancel()
            with contextlib.suppress(asyncio.CancelledError, Unavailable):
                (await template).close()

    async def _confined(self, task: str) -> Child:
        """A child that waits for its work. A template that dies at the fork is replaced, once: no upload has been
        touched yet."""
        template = await self._living_template()
        try:
            return await self._forked(template, task)
        except Unavailable:
            if template.is_alive:
                raise
            return await self._forked(await self._living_template(), task)

    async def _forked(self, template: Template, task: str) -> Child:
        child = Child(template=template, root=self._root, task=task, limits=self._limits, is_required=self._is_required)
        try:
            await child.ready()
        except BaseException:
            await self._bury(child)
            raise
        return child

    async def _living_template(self) -> Template:
        """The template, or one that takes the place of one that could not start or has ended. Raises Unavailable."""
        if self._template is not None and self._template.done():
            if self._template.exception() is not None:
                self._template = None
            elif not self._template.result().is_alive:
                self._template.result().close()
                self._template = None
        if self._template is None:
            self._template = asyncio.create_task(self._begun())
        return await asyncio.shield(self._template)

    async def _begun(self) -> Template:
        template = Template(self._python, self._root, self._tasks)
        try:
            await template.ready()
        except BaseException:
            template.close()
            raise
        return template

    def _bury(self, child: Child) -> Awaitable[None]:
        """In a task of its own: a cancelled upload still leaves no process."""
        burial = asyncio.create_task(child.bury())
        self._burials.add(burial)
        burial.add_done_callback(self._burials.discard)
        return asyncio.shield(burial)


def kernel_gap() -> str | None:
    """What the running kernel lacks to confine a process; None where it can."""
    support = _native.confinement_support()
    if not support["landlock_abi"]:
        return "this kernel has no Landlock"
    return None if support["seccomp"] else "this kernel has no seccomp filters"


def closed_folders() -> list[str]:
    """Folders of imports that the child of a root server can not enter, because it runs as another user.

    What is imported before the upload is read works all the same; a library that only an upload asks for does not.
    """
    if os.geteuid() != 0:
        return []
    paths = sysconfig.get_paths()
    folders = sorted({Path(paths[name]).resolve() for name in ("stdlib", "platstdlib", "purelib", "platlib")})
    return [str(folder) for folder in folders if not all(map(is_open_to_others, (folder, *folder.parents)))]


def is_open_to_others(folder: Path) -> bool:
    return bool(folder.stat().st_mode & stat.S_IXOTH)


def answer_of(ending: Ending, limits: Limits) -> bytes:
    """The answer in an ending, or the reason why there is none. Raises SandboxViolation and what tasks report."""
    if why := stopped_by(ending, limits):
        note(ending, logging.INFO)
        raise SandboxViolation(f"The file {why}")
    outcome = outcome_in(ending.answer)
    if isinstance(outcome, Done):
        note(ending, logging.DEBUG)  # libraries chatter; only an end without an answer makes it worth reading
        return outcome.answer
    note(ending, logging.INFO)
    raise reported(outcome, limits)


def note(ending: Ending, level: int) -> None:
    """Log what a child printed and which calls it was refused, in one escaped line."""
    if ending.log or ending.acts:
        log.log(level, "a confined child left acts %r and said %r", ending.acts, ending.log.decode("utf-8", "replace"))


def stopped_by(ending: Ending, limits: Limits) -> str | None:
    """The act, limit or crash that ended it; acts first, because they say most."""
    for letter in ending.acts:
        if act := ACTS.get(letter):
            return act
    if ending.stopped:
        return ending.stopped
    if ending.status == -signal.SIGXCPU or (
        ending.status == -signal.SIGKILL and ending.cpu_seconds >= limits.cpu_seconds
    ):
        return f"used more than {limits.cpu_seconds} s of CPU"
    if ending.status == -signal.SIGSYS:
        return "tried to start a process, or another call that no model needs"
    if ending.status < 0:
        return f"crashed with signal {signal_name(-ending.status)}"
    return f"ended its process with status {ending.status}" if ending.status else None


def signal_name(number: int) -> str:
    """`SIGSEGV`; the number where it has no name, as most real-time signals."""
    return signal.Signals(number).name if number in set(signal.Signals) else str(number)


def outcome_in(answer: bytes) -> Outcome:
    try:
        outcome: Outcome = msgspec.msgpack.decode(answer, type=Outcome)
    except (msgspec.MsgspecError, ValueError, RecursionError):  # a broken string is a ValueError
        raise SandboxViolation("The file ended its process without one well-formed answer") from None
    return outcome


def reported(failed: Failed, limits: Limits) -> ServalError:
    """The error that a task's report stands for."""
    message = printable(failed.message)
    if failed.code == "memory":
        return SandboxViolation(f"The file used more than {size(limits.memory_bytes)} of memory")
    if failed.code == "refused":
        return SandboxViolation(f"The file reached for what an upload may not touch: {message}")
    if failed.code == "unexpected":
        return errors.Unprocessable(f"The file can not be processed: {message}")
    if error := BY_CODE.get(failed.code):
        return error(message)
    return SandboxViolation("The file answered with an unknown report")


def printable(text: str) -> str:
    """One line without control or direction characters, at most 2000 long."""
    return "".join(character if character.isprintable() else " " for character in text[:2000])
