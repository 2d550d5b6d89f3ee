"""Every setting of Serval, typed, with its docstring: read once, and refused by name when it is not understood."""

import os
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, TypeAlias, get_origin, get_type_hints

import msgspec
from msgspec import Meta

from serval.errors import CannotStart
from serval.settings.addresses import Networks, check_origins
from serval.settings.plans import Plan, RateText
from serval.settings.text import GIB, MIB, accepts, bare, masked, nearest, read_bytes, read_dotenv, shown

PREFIX = "SERVAL_"
FILE_SUFFIX = "_FILE"
"""`SERVAL_DATABASE_URL_FILE` names a file that holds `SERVAL_DATABASE_URL`, as secrets are mounted into containers."""
CLIENT_NAMES = frozenset({"SERVAL_URL", "SERVAL_KEY", "SERVAL_CONFIG"})
"""Names of the command line itself, which are no settings of the server."""

Value: TypeAlias = str | int | float | bool
Given: TypeAlias = dict[str, tuple[object, str]]
"""For each setting that was given: its raw value and where it came from, as an error names it."""

Text = Annotated[str, Meta(min_length=1)]
Port = Annotated[int, Meta(ge=0, le=65535)]
Count = Annotated[int, Meta(ge=1)]
Size = Annotated[int, Meta(ge=0)]
Share = Annotated[float, Meta(ge=0, le=1)]
Span = Annotated[float, Meta(gt=0)]
"""A length of time, in the unit of the setting's name."""
DatabaseUrl = Annotated[str, Meta(pattern=r"^(postgres|sqlite)\S*://")]
RedisUrl = Annotated[str, Meta(pattern=r"^(redis|rediss|unix)://")]


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings in force, handed down to whoever needs them."""

    data_dir: Path = Path("serval-data")
    """Folder of everything that Serval keeps: database, models, queue, `admin.key`."""
    host: Text = "127.0.0.1"
    """Address that the API listens on."""
    port: Port = 8080
    """Port that the API listens on; 0 takes a free one."""
    metrics_host: Text = "127.0.0.1"
    """Address that operators' metrics listen on."""
    metrics_port: Port = 9090
    """Port of operators' `/metrics`, which asks for no key; 0 takes a free one."""

    tls_cert_file: Path | None = None
    """PEM file of the certificate and its chain; with `tls_key_file` the API speaks HTTPS, HTTP/2 too. Read again when
    it changes."""
    tls_key_file: Path | None = None
    """PEM file of the certificate's private key."""
    https_only: bool = False
    """Refuse requests that came over plain HTTP, also to the proxy in front; probes are answered."""
    trusted_proxies: tuple[Text, ...] = ()
    """Addresses or networks of proxies whose `Forwarded` and `X-Forwarded-*` headers are believed, parted by commas."""
    cors_origins: tuple[Text, ...] = ()
    """Origins of web pages that may ask from a browser, as `https://app.example.com`, parted by commas; none by
    default."""

    front: bool = True
    """Answer predictions in Rust on the public port and leave the rest to the app; off, for diagnosis, the app answers
    all."""
    max_connections: Count = 10_000
    """Most connections to the API at a time; others are closed at once."""
    max_connections_per_address: Count = 5_000
    """Most connections of one address at a time: a proxy has one address."""
    max_head_bytes: Annotated[int, Meta(ge=8192)] = 64 * 1024
    """Largest head of a request."""
    max_buffered_bytes: Annotated[int, Meta(ge=1024)] = 256 * MIB
    """Most bytes of predictions' bodies that are held at a time, over all connections."""
    max_forwarded: Count = 256
    """Most requests that the front leaves to the app at a time."""
    head_timeout_seconds: Span = 10.0
    """How long the head of a request may take to arrive."""
    body_timeout_seconds: Span = 30.0
    """How long a prediction's body may take to arrive, and an upload may pause."""
    idle_timeout_seconds: Span = 75.0
    """How long a connection may stay open between two requests."""
    write_timeout_seconds: Span = 30.0
    """How long a client may read nothing of its answer."""

    database_url: DatabaseUrl | None = None
    """`postgresql://user:password@host/name`; unset: SQLite in the data folder."""
    redis_url: RedisUrl | None = None
    """`redis://host:6379/0`; unset: an embedded Valkey that keeps its data in the data folder."""

    registration: Literal["auto", "open", "closed"] = "auto"
    """Who may make an account: `open` everybody, `closed` administrators alone, `auto` everybody, on the loopback
    address alone."""
    access_token_minutes: Span = 30.0
    """How long an access token is valid."""
    refresh_token_days: Span = 7.0
    """How long a login lasts that is not used; each use makes it last so long again."""
    signing_key_days: Span = 90.0
    """How long a key signs access tokens before a new one takes over; nobody is logged out."""
    password_min_length: Annotated[int, Meta(ge=8, le=64)] = 8
    """Least characters of a password."""
    audit_days: Span = 365.0
    """How long the audit trail keeps an entry."""

    cache_bytes: Size = 256 * MIB
    """Bound of the first cache level; 0 turns it off."""
    cache_ttl_seconds: Annotated[float, Meta(ge=0)] = 60.0
    """How long an answer is given again from the cache, unless its model says otherwise; 0: never."""
    cache_url: RedisUrl | None = None
    """The second cache level, which replicas share: a Redis that may forget, also `rediss://` or `unix://`; unset:
    there is none."""
    cache_l2_ttl_seconds: Annotated[float, Meta(ge=0)] = 300.0
    """How long the second level keeps an answer, unless its model says otherwise; 0: not at all."""
    inline_below_seconds: Annotated[float, Meta(ge=0)] = 0.002
    """A prediction estimated below it runs where it was read, a dearer one on a compute thread."""
    predict_timeout_seconds: Span = 30.0
    """A prediction that takes longer is answered 504."""
    max_queued: Count = 512
    """Most predictions that may wait for a compute thread; more are answered 503."""
    max_queued_per_model: Count = 128
    """Most of them for one model."""
    predict_rate: RateText | None = None
    """Predictions of one user, over all their keys and all servers of one database; unset: as many as they like."""
    api_rate: RateText = "100/min"
    """Other requests of one user, or of one address where nobody is signed in; `unlimited`: as many as they like."""
    plans: dict[str, Plan] = {}
    """Limits by `subscription_tier` of users, as `{"free": {"predict_rate": "10/s", "api_rate": "60/min",
    "monthly_quota": 10000}}`."""
    max_rows: Count = 10_000
    """Most rows of one prediction request."""
    max_body_bytes: Annotated[int, Meta(ge=1024)] = 8 * MIB
    """Largest body of a prediction; that of any other request but an upload is 64 KiB."""

    max_upload_bytes: Annotated[int, Meta(ge=1024)] = 512 * MIB
    """Largest model file."""
    max_pending_uploads: Count = 4
    """Most uploads of one user that may wait for their conversion."""
    min_free_disk_bytes: Size = GIB
    """An upload is refused when it would leave less than this free on the disk."""

    convert_parallel: Count = 1
    """Conversions that run at the same time."""
    convert_preload: bool = True
    """Import the libraries of conversions at the start, so that the first upload need not wait for them; about 0.2 GB
    from then on."""
    convert_memory_bytes: Annotated[int, Meta(ge=256 * MIB)] = 4 * GIB
    """Memory of one conversion process."""
    convert_cpu_seconds: Count = 120
    """CPU time of one conversion process."""
    convert_wall_seconds: Span = 120.0
    """Time after which a conversion process is ended."""
    allow_unconfined_conversion: bool = False
    """Convert uploads although this kernel can not confine them: only for files that you trust."""

    history_capacity: Count = 1024
    """Predictions that the history holds until they are drained, twice a second; more are counted and left out."""
    history_sample: Share = 1.0
    """Share of the predictions that are written to the history; 0: none."""
    history_inputs: Literal["digest", "values"] = "digest"
    """What the history keeps of the inputs: their digest alone, or the first rows themselves too."""
    history_days: Span = 30.0
    """How long the history keeps a prediction."""

    log_format: Literal["auto", "json", "text"] = "auto"
    """`json` is one object a line, `text` is for eyes, `auto` is text on a terminal."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Lines below this level are not written."""
    slow_request_ms: Span = 1000.0
    """A request that takes longer is logged as a warning."""
    log_predictions_sample: Share = 0.01
    """Share of the predictions answered without Python that are logged, beside all slow ones."""

    drain_pause_seconds: Annotated[float, Meta(ge=0)] = 1.0
    """How long a stopping server says that it is not ready before it stops accepting."""
    drain_seconds: Span = 30.0
    """How long requests under way may take to finish when the server stops."""
    stall_seconds: Annotated[float, Meta(ge=3)] = 30.0
    """A serving process whose event loop has not beaten for so long is ended and started again."""

    @property
    def admin_key_file(self) -> Path:
        """The administrator's first key, alone on one line, mode 0600."""
        return self.data_dir / "admin.key"


CHECKS: Mapping[str, Callable[[tuple[str, ...]], object]] = MappingProxyType(
    {"trusted_proxies": Networks, "cors_origins": check_origins}
)
"""What a type can not say of a setting; each raises ValueError."""


class Described(msgspec.Struct, frozen=True):
    """A setting as `docs/settings.md` and `serval diagnose` show it."""

    name: str
    environment: str
    accepts: str
    default: str
    description: str


def load_settings(
    *,
    argv_overrides: Mapping[str, Value | None],
    environ: Mapping[str, str],
    config_file: Path | None,
    dotenv: Path | None,
) -> Settings:
    """Settings by precedence: command line, environment, `.env`, TOML file, default. Raises CannotStart for an unknown
    name or a bad value.

    An override of None was not given. A `dotenv` that does not exist is skipped; a `config_file` must exist.
    """
    return typed(gather(argv_overrides=argv_overrides, environ=environ, config_file=config_file, dotenv=dotenv))


def surroundings(argv_overrides: Mapping[str, Value | None], config_file: Path | None = None) -> Given:
    """What is given to a process started here: its environment, `.env` and `serval.toml` of the working folder. Raises
    CannotStart."""
    named = config_file or (Path(os.environ["SERVAL_CONFIG"]) if "SERVAL_CONFIG" in os.environ else None)
    beside = Path("serval.toml")
    return gather(
        argv_overrides=argv_overrides,
        environ=os.environ,
        config_file=named or (beside if beside.is_file() else None),
        dotenv=Path(".env"),
    )


def gather(
    *,
    argv_overrides: Mapping[str, Value | None],
    environ: Mapping[str, str],
    config_file: Path | None,
    dotenv: Path | None,
) -> Given:
    """The raw values of all sources, the strongest last. Raises CannotStart for a name that is no setting."""
    given: Given = {}
    if config_file is not None:
        given |= {name: (value, f"`{name}` in `{config_file}`") for name, value in read_toml(config_file).items()}
    if dotenv is not None and dotenv.is_file():
        kept = settings_among(read_dotenv(dotenv), f" in `{dotenv}`")
        given |= {name: (value, f"`{variable(name)}` in `{dotenv}`") for name, value in kept.items()}
    given |= {
        name: (value, f"`{variable(name)}`") for name, value in settings_among(environ, " in the environment").items()
    }
    given |= {
        name: (value, f"`--{name.replace('_', '-')}`") for name, value in argv_overrides.items() if value is not None
    }
    return given


def typed(given: Given) -> Settings:
    """Settings from raw values. Raises CannotStart naming the source of a value that is not accepted."""
    hints = get_type_hints(Settings, include_extras=True)
    settings = Settings(**{name: convert(hints[name], name, value, source) for name, (value, source) in given.items()})
    for name, check in CHECKS.items():
        try:
            check(getattr(settings, name))
        except ValueError as error:
            raise CannotStart(f"{given[name][1]}: {error}") from error
    return settings


def convert(hint: Any, name: str, value: object, source: str) -> Any:
    """One raw value, text or TOML, as the type of its setting."""
    try:
        raw = from_text(name, hint, value) if isinstance(value, str) else value
        return msgspec.convert(raw, hint, strict=False, dec_hook=to_path)
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        reason = f" ({error})" if get_origin(bare(hint)) is dict else ""
        raise CannotStart(f"{source} is `{masked(str(value))}`: expected {accepts(name, hint)}{reason}") from error


def from_text(name: str, hint: Any, text: str) -> object:
    """What is written in one line, as a TOML file would hold it. Raises msgspec.DecodeError."""
    kind = get_origin(bare(hint))
    if kind is tuple:
        return [part.strip() for part in text.split(",") if part.strip()]
    if kind is dict:
        return msgspec.json.decode(text)
    return read_bytes(text) if name.endswith("_bytes") else text


def to_path(hint: type, value: object) -> Path:
    if hint is Path and isinstance(value, str) and value:
        return Path(value).expanduser()
    raise ValueError("a path is expected")


def variable(name: str) -> str:
    """`max_rows` → `SERVAL_MAX_ROWS`."""
    return PREFIX + name.upper()


def settings_among(variables: Mapping[str, str], where: str) -> dict[str, str]:
    """The settings among environment variables. Raises CannotStart for a `SERVAL_` name that is none."""
    known = {variable(name): name for name in Settings.__struct_fields__}
    ours = {key: value for key, value in variables.items() if key.startswith(PREFIX) and key not in CLIENT_NAMES}
    for key in [key for key in ours if key not in known and key.removesuffix(FILE_SUFFIX) in known]:
        if key.removesuffix(FILE_SUFFIX) in ours:
            raise CannotStart(f"`{key}` and `{key.removesuffix(FILE_SUFFIX)}`{where} are both there: give one of them")
        ours[key.removesuffix(FILE_SUFFIX)] = content_of(ours.pop(key), f"`{key}`{where}")
    for key in ours.keys() - known.keys():
        raise CannotStart(f"`{key}`{where} is no setting of Serval{nearest(key, known)}")
    return {known[key]: value for key, value in ours.items()}


def content_of(path: str, source: str) -> str:
    """The text of a file that holds one value, without the end of its last line. Raises CannotStart."""
    try:
        return Path(path).expanduser().read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise CannotStart(f"{source} names `{path}`, which can not be read: {error}") from error


def read_toml(path: Path) -> dict[str, object]:
    """The settings of a TOML file. Raises CannotStart when it can not be read or names what is no setting."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise CannotStart(f"the settings file `{path}` can not be read: {error}") from error
    for name in values.keys() - set(Settings.__struct_fields__):
        raise CannotStart(f"`{name}` in `{path}` is no setting of Serval{nearest(name, Settings.__struct_fields__)}")
    return values


def describe() -> list[Described]:
    """Every setting, in the order of the struct."""
    hints = get_type_hints(Settings, include_extras=True)
    texts = docstrings()
    defaults = msgspec.structs.asdict(Settings())
    return [
        Described(name, variable(name), accepts(name, hints[name]), shown(name, default), texts[name])
        for name, default in defaults.items()
    ]


def docstrings() -> dict[str, str]:
    """The string below each field of `Settings`, which Python itself does not keep."""
    import ast
    import inspect
    from itertools import pairwise

    struct = next(node for node in ast.walk(ast.parse(inspect.getsource(Settings))) if isinstance(node, ast.ClassDef))
    texts = {}
    for above, below in pairwise(struct.body):
        match above, below:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                texts[name] = text
    return texts
