"""`serval serve`: the server, or one model file as a server."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

if TYPE_CHECKING:
    from serval.log import Log
    from serval.settings.settings import Settings


class ServeCommand(click.RichCommand):
    """Has an option for each setting, made only when this command runs or shows its help."""

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        from serval.commands.setting_options import setting_options

        own = super().get_params(ctx)
        return [*own[:-1], *setting_options(), own[-1]]


@click.command(cls=ServeCommand)
@click.argument("model_file", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--config", type=click.Path(path_type=Path), help="Settings file; by default serval.toml in this folder.")
@click.option("--reload", is_flag=True, help="Restart the serving process when Serval's own code changes.")
def serve(model_file: Path | None, config: Path | None, reload: bool, **options: str | None) -> None:
    """Serve models over HTTP.

    With MODEL_FILE, upload it, on this machine only, and again whenever the file changes.
    """
    import asyncio

    from serval.log import open_log
    from serval.settings.reading import surroundings, typed

    if model_file is not None:
        sys.exit(serve_file(model_file, options, config))
    sources = surroundings(options, config)
    settings = typed(sources)
    log = open_log(level=settings.log_level, form=settings.log_format, min_free_bytes=settings.min_free_disk_bytes)
    try:
        sys.exit(asyncio.run(run(settings, log, reload=reload, is_metrics_port_chosen="metrics_port" in sources)))
    finally:
        log.close()


async def run(
    settings: "Settings",
    log: "Log",
    *,
    reload: bool = False,
    model_file: Path | None = None,
    is_metrics_port_chosen: bool = True,
) -> int:
    """Serve until a signal; the exit code. Raises CannotStart."""
    from serval.process.supervisor import Supervisor

    sidecar = None if model_file is None else push_command(model_file, settings.admin_key_file)
    supervisor = Supervisor(settings, log, sidecar=sidecar, is_metrics_port_chosen=is_metrics_port_chosen)
    return await supervisor.run(Path(__file__).parents[1] if reload else None)


def serve_file(model_file: Path, options: dict[str, str | None], config: Path | None) -> int:
    """Serve one file on the loopback address.

    On a terminal only warnings are logged, unless a level is chosen: lines of requests would tear the progress bar.
    """
    import asyncio

    from serval.errors import CannotStart
    from serval.log import open_log
    from serval.settings.reading import surroundings, typed

    sources = surroundings(options, config)
    defaults: dict[str, Any] = {"host": "127.0.0.1", "drain_pause_seconds": 0}
    if sys.stdout.isatty():
        defaults["log_level"] = "warning"
    settings = typed({name: (value, "default") for name, value in defaults.items()} | sources)
    if settings.tls_cert_file is not None:
        raise CannotStart(
            "`serval serve FILE` serves on this machine only, without TLS: remove `tls_cert_file`, or run `serval"
            " serve` without a file"
        )
    log = open_log(level=settings.log_level, form=settings.log_format, min_free_bytes=settings.min_free_disk_bytes)
    try:
        is_chosen = "metrics_port" in sources
        return asyncio.run(run(settings, log, model_file=model_file, is_metrics_port_chosen=is_chosen))
    finally:
        log.close()


def push_command(model_file: Path, key_file: Path) -> list[str]:
    """The command that uploads the file, now and after each change; the environment has the server's URL and key."""
    command = [sys.executable, "-m", "serval.commands.cli", "model", "push", str(model_file), "--watch"]
    return [*command, "--no-expected-answers", "--served-with-key", str(key_file)]
