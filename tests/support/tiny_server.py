"""A server whose app is a few lines: `tiny_server.py [--data-dir ...]` supervises, `tiny_server.py child` serves."""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from serval.errors import CannotStart
from serval.log import Log, open_log
from serval.process.child import Serving, run_child
from serval.process.handover import ServeConfig
from serval.process.supervisor import Supervisor
from serval.settings.reading import load_settings


class TinyApp:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.is_draining = False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        status, body = await self.answer(scope["path"])
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": body})

    async def answer(self, path: str) -> tuple[int, bytes]:
        if path == "/health/ready":
            return (503, b"draining") if self.is_draining else (200, b"ready")
        if path == "/process":
            return 200, str(os.getpid()).encode()
        if path == "/slow":
            (self.folder / "slow-began").touch()
            await asyncio.sleep(0.5)
        if path == "/stall":
            time.sleep(60)  # noqa: ASYNC251 on purpose
        return 200, b"hello"

    def drain(self) -> None:
        self.is_draining = True


@asynccontextmanager
async def open_tiny(config: ServeConfig, log: Log) -> AsyncIterator[Serving]:
    folder = config.settings.data_dir
    if (folder / "refuse").exists():
        raise CannotStart("the database is out of reach")
    if (folder / "crash").exists():
        raise ZeroDivisionError("a fault of ours")
    app = TinyApp(folder)
    yield Serving(app=app, render_metrics=lambda: b"tiny_up 1\n", begin_drain=app.drain)
    (folder / "closed").touch()


def main() -> int:
    if sys.argv[1:] == ["child"]:
        return run_child(open_app=open_tiny)
    settings = load_settings(argv_overrides={}, environ=os.environ, config_file=None, dotenv=None)
    log = open_log(level=settings.log_level, form=settings.log_format)
    watched = Path(os.environ["TINY_WATCH"]) if "TINY_WATCH" in os.environ else None
    try:
        return asyncio.run(Supervisor(settings, log, command=[sys.executable, __file__, "child"]).run(watched))
    except CannotStart as error:
        sys.stderr.write(f"serval: {error.message}\n")
        return 1
    finally:
        log.close()


if __name__ == "__main__":
    sys.exit(main())
