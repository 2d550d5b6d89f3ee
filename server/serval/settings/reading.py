"""Reads the settings from the command line, the environment, `.env` and a TOML file."""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias, get_origin, get_type_hints

import msgspec

from serval.errors import CannotStart
from serval.settings.settings import CHECKS, PREFIX, Settings, variable
from serval.settings.text import accepts, bare_type, masked, nearest, read_bytes, read_dotenv

FILE_SUFFIX = "_FILE"
"""`SERVAL_DATABASE_URL_FILE` names a file that holds `SERVAL_DATABASE_URL`, as secrets are mounted into containers."""
CLIENT_NAMES = frozenset({"SERVAL_URL", "SERVAL_KEY", "SERVAL_CONFIG"})
"""Variables of the command line, which are not settings of the server."""

Value: TypeAlias = str | int | float | bool
RawSettings: TypeAlias = dict[str, tuple[object, str]]
"""For each setting that is set: its raw value, and its source as error messages name it."""


def load_settings(
    *,
    argv_overrides: Mapping[str, Value | None],
    environ: Mapping[str, str],
    config_file: Path | None,
    dotenv: Path | None,
) -> Settings:
    """Return the settings by precedence: command line, environment, `.env`, TOML file, default.

    An override of None is not set. A `dotenv` that does not exist is skipped; a `config_file` must exist.
    Raises CannotStart for an unknown name or an invalid value.
    """
    return typed(gather(argv_overrides=argv_overrides, environ=environ, config_file=config_file, dotenv=dotenv))


def surroundings(argv_overrides: Mapping[str, Value | None], config_file: Path | None = None) -> RawSettings:
    """Return the raw settings of a process started here: environment, and `.env` and `serval.toml` of this folder.

    Raises CannotStart.
    """
    named = config_file or (Path(os.environ["SERVAL_CONFIG"]) if "SERVAL_CONFIG" in os.environ else None)
    default_file = Path("serval.toml")
    return gather(
        argv_overrides=argv_overrides,
        environ=os.environ,
        config_file=named or (default_file if default_file.is_file() else None),
        dotenv=Path(".env"),
    )


def gather(
    *,
    argv_overrides: Mapping[str, Value | None],
    environ: Mapping[str, str],
    config_file: Path | None,
    dotenv: Path | None,
) -> RawSettings:
    """Return the raw settings of all sources; later sources win. Raises CannotStart for an unknown name."""
    raw: RawSettings = {}
    if config_file is not None:
        raw |= {name: (value, f"`{name}` in `{config_file}`") for name, value in read_toml(config_file).items()}
    if dotenv is not None and dotenv.is_file():
        values = settings_among(read_dotenv(dotenv), f" in `{dotenv}`")
        raw |= {name: (value, f"`{variable(name)}` in `{dotenv}`") for name, value in values.items()}
    raw |= {
        name: (value, f"`{variable(name)}`") for name, value in settings_among(environ, " in the environment").items()
    }
    raw |= {
        name: (value, f"`--{name.replace('_', '-')}`") for name, value in argv_overrides.items() if value is not None
    }
    return raw


def typed(raw: RawSettings) -> Settings:
    """Convert raw settings. Raises CannotStart, which names the source of an invalid value."""
    hints = get_type_hints(Settings, include_extras=True)
    settings = Settings(**{name: convert(hints[name], name, value, source) for name, (value, source) in raw.items()})
    for name, check in CHECKS.items():
        try:
            check(getattr(settings, name))
        except ValueError as error:
            raise CannotStart(f"{raw[name][1]}: {error}") from error
    return settings


def convert(hint: Any, name: str, value: object, source: str) -> Any:
    """Convert one raw value, text or TOML, to the type of its setting. Raises CannotStart."""
    try:
        parsed = from_text(name, hint, value) if isinstance(value, str) else value
        return msgspec.convert(parsed, hint, strict=False, dec_hook=to_path)
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        reason = f" ({error})" if get_origin(bare_type(hint)) is dict else ""
        raise CannotStart(f"{source} is `{masked(str(value))}`: expected {accepts(name, hint)}{reason}") from error


def from_text(name: str, hint: Any, text: str) -> object:
    """Convert the text of one line to what a TOML file would hold. Raises msgspec.DecodeError."""
    kind = get_origin(bare_type(hint))
    if kind is tuple:
        return [part.strip() for part in text.split(",") if part.strip()]
    if kind is dict:
        return msgspec.json.decode(text)
    return read_bytes(text) if name.endswith("_bytes") else text


def to_path(hint: type, value: object) -> Path:
    if hint is Path and isinstance(value, str) and value:
        return Path(value).expanduser()
    raise ValueError("a path is expected")


def settings_among(variables: Mapping[str, str], where: str) -> dict[str, str]:
    """Return the settings among environment variables. Raises CannotStart for an unknown `SERVAL_` name."""
    known = {variable(name): name for name in Settings.__struct_fields__}
    ours = {key: value for key, value in variables.items() if key.startswith(PREFIX) and key not in CLIENT_NAMES}
    for key in [key for key in ours if key not in known and key.removesuffix(FILE_SUFFIX) in known]:
        if key.removesuffix(FILE_SUFFIX) in ours:
            raise CannotStart(f"`{key}` and `{key.removesuffix(FILE_SUFFIX)}`{where} are both set: set one of them")
        ours[key.removesuffix(FILE_SUFFIX)] = content_of(ours.pop(key), f"`{key}`{where}")
    for key in ours.keys() - known.keys():
        raise CannotStart(f"`{key}`{where} is not a setting of Serval{nearest(key, known)}")
    return {known[key]: value for key, value in ours.items()}


def content_of(path: str, source: str) -> str:
    """Return the text of a file with one value, without its last line end. Raises CannotStart."""
    try:
        return Path(path).expanduser().read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise CannotStart(f"{source} names `{path}`, which cannot be read: {error}") from error


def read_toml(path: Path) -> dict[str, object]:
    """Return the settings of a TOML file. Raises CannotStart where it cannot be read or has an unknown name."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise CannotStart(f"the settings file `{path}` cannot be read: {error}") from error
    for name in values.keys() - set(Settings.__struct_fields__):
        raise CannotStart(f"`{name}` in `{path}` is not a setting of Serval{nearest(name, Settings.__struct_fields__)}")
    return values
