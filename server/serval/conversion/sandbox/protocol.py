"""What the server, the template and a confined child send each other."""

from typing import NamedTuple

import msgspec

READY = b"ready"


class TemplateConfig(msgspec.Struct, frozen=True):
    """How the server starts the template."""

    control: int
    tasks: str | None
    """A file that takes the place of `serval.conversion.tasks`."""


class ChildConfig(msgspec.Struct, frozen=True):
    """How the template starts a child."""

    task: str
    folder: str
    memory_bytes: int
    cpu_seconds: int
    threads: int
    is_required: bool
    """Whether a kernel that cannot confine ends the child."""
    parent: int


class ChildDescriptors(NamedTuple):
    """What a child has open, in the order in which its configuration brings them."""

    control: int
    answer: int
    violations: int
    printed: int


class Done(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="done"):
    answer: bytes


class Failed(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="failed"):
    code: str
    """A `ServalError` code, or `memory`, `refused` (by the kernel), `unexpected`."""
    message: str
    """The error's; of an unexpected one, the name of the task."""


Outcome = Done | Failed
