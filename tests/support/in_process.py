"""Runs the tasks in this process, and graphs with ONNX Runtime's Python interface."""

from collections.abc import Callable
from pathlib import Path

from serval.conversion import tasks
from serval.conversion.rows import Answers, Rows
from serval.conversion.signature import Signature
from serval.conversion.verify import onnxruntime_engine


class OnnxRuntime:
    def run(self, onnx: bytes, signature: Signature, rows: Rows) -> Answers:
        return onnxruntime_engine.run(onnx, signature, rows)


def contents(upload: Path) -> bytes:
    return upload.read_bytes()


class InProcessSandbox:
    """Calls tasks directly; `changed` may replace the answer of a task."""

    def __init__(self, changed: dict[str, Callable[[bytes], bytes]] | None = None) -> None:
        self.changed = changed or {}

    async def run(self, task: str, upload: Path | None, request: bytes) -> bytes:
        if task == "engine":
            answer = tasks.run_engine(request, OnnxRuntime())
        else:
            assert upload is not None
            answer = tasks.TASKS[task](contents(upload), request)
        return self.changed.get(task, lambda unchanged: unchanged)(answer)
