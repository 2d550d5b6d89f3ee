"""The settings as options of `serval serve`: in groups, with what they take and their defaults."""

from collections.abc import Mapping
from types import MappingProxyType

import rich_click as click

from serval.settings.reference import SettingDescription, describe

GROUPS: Mapping[str, str] = MappingProxyType(
    {
        "data_dir": "Addresses and data",
        "tls_cert_file": "HTTPS, proxies and browsers",
        "front": "Connections",
        "database_url": "Database and Redis",
        "registration": "Accounts",
        "cache_bytes": "Predictions, cache and limits",
        "max_upload_bytes": "Uploads and conversion",
        "history_capacity": "Prediction history",
        "log_format": "Log",
        "drain_pause_seconds": "Stopping",
    }
)
"""The first setting of each group, in the order of the settings, and the title of the group."""

KINDS: Mapping[str, str] = MappingProxyType(
    {
        "a whole number": "INTEGER",
        "a number": "NUMBER",
        "a path": "PATH",
        "a size": "SIZE",
        "a rate": "RATE",
        "a URL": "URL",
        "comma-separated list": "LIST",
        "JSON": "JSON",
        "text": "TEXT",
        "`true` or `false`": "true|false",
    }
)
"""How what a setting accepts begins, and the word for it."""


def setting_options() -> list[click.Option]:
    """An option for each setting, in the order of the settings."""
    options, group = [], ""
    for setting in describe():
        group = GROUPS.get(setting.name, group)
        options.append(setting_option(setting, group))
    return options


def setting_option(setting: SettingDescription, group: str) -> click.Option:
    # A default of Click's would count as given; this one is only shown.
    text = f"{setting.description} (default: {setting.default})".replace("`", "")
    return click.RichOption([f"--{setting.name.replace('_', '-')}"], metavar=kind_of(setting), help=text, panel=group)


def kind_of(setting: SettingDescription) -> str:
    """One word for what a setting accepts, or its choices."""
    if setting.accepts.startswith("one of "):
        return setting.accepts.removeprefix("one of ").replace("`", "").replace(", ", "|")
    return next(word for start, word in KINDS.items() if setting.accepts.startswith(start))
