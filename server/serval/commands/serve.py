"""`serval serve`: the server, or one model file as a server."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

if TYPE_CHECKING:
    from serval.log import Log
    from serval.settings.settings import Settings


class ServeCommand(click.RichCommand):
    """Knows an option for each setting, made only when this command runs or explains itself."""

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        from serval.settings.settings import describe

        own = super().get_params(ctx)
        return [*own[:-1], *(setting_option(setting.name, setting.description) for setting in describe()), own[-1]]


def setting_option(name: str, description: str) -> click.Option:
    return click.RichOption([f"--{name.replace('_', '-')}"], metavar="VALUE", help=description.replace("`", ""))


@click.command(cls=ServeCommand)
@click.argument("model_file", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--config", type=click.Path(path_type=Path), help="Settings file; serval.toml in this folder by default.")
@click.option("--reload", is_flag=True, help="Restart the serving process when Serval's own code changes.")
def serve(model_file: Path | None, config: Path | None, reload: bool, **given: str | None) -> None:
    """Serve models over HTTP.

    With MODEL_FILE: that one model, on this machine only, uploaded again whenever the file changes.
    """
    import asyncio

    from serval.log import open_log
    from serval.settings.settings import surroundings, typed

    if model_file is not None:
        sys.exit(serve_file(model_file, given, config))
    settings = typed(surroundings(given, config))
    log = open_log(level=settings.log_level, form=settings.log_format)
    try:
        sys.exit(asyncio.run(run(settings, log, reload=reload)))
    finally:
        log.close()


async def run(settings: "Settings", log: "Log", *, reload: bool = False, model_file: Path | None = None) -> int:
    """Serve until a signal; the exit code. Raises CannotStart."""
    from serval.process.supervisor import Supervisor

    sidecar = None if model_file is None else push_command(model_file)
    return await Supervisor(settings, log, sidecar=sidecar).run(Path(__file__).parents[1] if reload else None)


def serve_file(model_file: Path, given: dict[str, str | None], config: Path | None) -> int:
    """Serve one file from a folder that is removed at the end, unless one is named."""
    import asyncio
    import tempfile

    from serval.errors import CannotStart
    from serval.log import open_log
    from serval.settings.settings import surroundings, typed

    with tempfile.TemporaryDirectory(prefix="serval-") as folder:
        chosen: dict[str, Any] = {"host": "127.0.0.1", "metrics_port": 0, "drain_pause_seconds": 0, "data_dir": folder}
        settings = typed(
            surroundings(chosen | {name: value for name, value in given.items() if value is not None}, config)
        )
        if settings.tls_cert_file is not None:
            raise CannotStart(
                "one file is served on this machine only, without TLS: leave `tls_cert_file` out, or start `serval serve` alone"
            )
        log = open_log(level=settings.log_level, form=settings.log_format)
        try:
            return asyncio.run(run(settings, log, model_file=model_file))
        finally:
            log.close()


def push_command(model_file: Path) -> list[str]:
    """Uploads the file as it is, now and after each change; the server's URL and key come in the environment."""
    return [
        sys.executable,
        "-m",
        "serval.commands.cli",
        "model",
        "push",
        str(model_file),
        "--watch",
        "--no-expected-answers",
    ]
