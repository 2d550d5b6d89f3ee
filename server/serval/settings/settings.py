"""Every setting of Serval, with its type, default and description."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from serval.settings.addresses import Networks, check_origins, check_root_path
from serval.settings.plans import Plan, RateText
from serval.settings.text import GIB, MIB

PREFIX = "SERVAL_"

Text = Annotated[str, Meta(min_length=1)]
Port = Annotated[int, Meta(ge=0, le=65535)]
Count = Annotated[int, Meta(ge=1)]
Size = Annotated[int, Meta(ge=0)]
Share = Annotated[float, Meta(ge=0, le=1)]
Duration = Annotated[float, Meta(gt=0)]
"""In the unit of the setting's name."""
DatabaseUrl = Annotated[str, Meta(pattern=r"^(postgres|sqlite)\S*://")]
RedisUrl = Annotated[str, Meta(pattern=r"^(redis|rediss|unix)://")]


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings in force."""

    data_dir: Path = Path("serval-data")
    """Folder of all data of Serval: database, models, queue, `admin.key`."""
    host: Text = "127.0.0.1"
    """Address that the API listens on."""
    port: Port = 8080
    """Port that the API listens on; 0 picks a free one."""
    metrics_host: Text = "127.0.0.1"
    """Address that the metrics for operators listen on."""
    metrics_port: Port = 9464
    """Port of the metrics for operators, `/metrics` without a key; 0 picks a free one, and so does the default where it
    is in use."""

    tls_cert_file: Path | None = None
    """PEM file of the certificate and its chain. With `tls_key_file` the API serves HTTPS, including HTTP/2. Read again
    when it changes."""
    tls_key_file: Path | None = None
    """PEM file of the certificate's private key."""
    https_only: bool = False
    """Refuse requests over plain HTTP, including those to a proxy in front; health probes are still answered."""
    trusted_proxies: tuple[Text, ...] = ()
    """Comma-separated addresses or networks of proxies whose `Forwarded` and `X-Forwarded-*` headers are trusted."""
    root_path: Text | None = None
    """Path under which a proxy shows Serval, as `/serval`, which it takes off each request. A trusted proxy can send
    `X-Forwarded-Prefix` instead."""
    cors_origins: tuple[Text, ...] = ()
    """Comma-separated origins of web pages that may call the API from a browser, as `https://app.example.com`; none by
    default."""

    front: bool = True
    """Answer predictions in Rust on the public port and forward the rest to the app. If false, for diagnosis, the app
    answers everything."""
    max_connections: Count = 10_000
    """Maximum number of connections to the API; more are closed at once."""
    max_connections_per_address: Count = 5_000
    """Maximum number of connections from one address; all clients of a proxy share its address."""
    max_head_bytes: Annotated[int, Meta(ge=8192)] = 64 * 1024
    """Maximum size of the head of a request."""
    max_buffered_bytes: Annotated[int, Meta(ge=1024)] = 256 * MIB
    """Maximum total size of bodies in memory, over all connections. One user may hold half of it, clients without a
    known key a quarter together, one address an eighth."""
    max_forwarded: Count = 256
    """Maximum number of requests that the front forwards to the app at the same time; a quarter is kept for clients
    with a key or a login that was good lately."""
    max_forwarded_per_user: Count = 128
    """Maximum number of them for one user."""
    max_forwarded_per_address: Count = 64
    """Maximum number of them for one address, of clients without a known key or login."""
    head_timeout_seconds: Duration = 10.0
    """Timeout for the head of a request to arrive."""
    body_timeout_seconds: Duration = 30.0
    """Timeout for a body of up to `small_body_bytes` to arrive whole, and for each pause of a larger one."""
    small_body_bytes: Annotated[int, Meta(ge=1024)] = MIB
    """A body up to this size is held until it is whole before the app gets it; a larger one is forwarded as it
    arrives."""
    min_upload_bytes_per_second: Annotated[int, Meta(ge=1)] = 64 * 1024
    """Minimum average rate of a body above `small_body_bytes`, once `body_timeout_seconds` have passed."""
    idle_timeout_seconds: Duration = 75.0
    """How long a connection may stay idle between two requests."""
    write_timeout_seconds: Duration = 30.0
    """How long a client may read nothing of its response."""

    database_url: DatabaseUrl | None = None
    """`postgresql://user:password@host/name`; unset: SQLite in the data folder."""
    redis_url: RedisUrl | None = None
    """`redis://host:6379/0`; unset: an embedded Valkey that stores its data in the data folder."""

    registration: Literal["auto", "open", "closed"] = "auto"
    """Who may register: `open` everyone, `closed` nobody (administrators create users), `auto` everyone on this machine
    while `host` is a loopback address."""
    access_token_minutes: Duration = 30.0
    """Lifetime of an access token."""
    refresh_token_days: Duration = 7.0
    """Lifetime of a login without use; each refresh extends it."""
    signing_key_days: Duration = 90.0
    """How long a key signs access tokens before a new one replaces it; logins stay valid."""
    password_min_length: Annotated[int, Meta(ge=8, le=64)] = 8
    """Minimum length of a password, in characters."""
    password_hash_bytes: Annotated[int, Meta(ge=12 * MIB, le=GIB)] = 64 * MIB
    """Memory that hashing a password takes, in three passes of Argon2id; stored hashes follow at the next login. OWASP
    asks for 12 MiB at least."""
    audit_days: Duration = 365.0
    """Retention of the audit trail."""

    cache_bytes: Size = 256 * MIB
    """Maximum size of the first cache level; 0 turns it off."""
    cache_ttl_seconds: Annotated[float, Meta(ge=0)] = 60.0
    """Lifetime of an answer in the first cache level, unless its model sets another; 0 turns caching off."""
    cache_url: RedisUrl | None = None
    """The second cache level, shared by replicas: a Redis that may evict, also `rediss://` or `unix://`; unset:
    none."""
    cache_l2_ttl_seconds: Annotated[float, Meta(ge=0)] = 300.0
    """Lifetime of an answer in the second cache level, unless its model sets another; 0 turns the level off."""
    inline_below_seconds: Annotated[float, Meta(ge=0)] = 0.002
    """Predictions estimated to take less run on the I/O thread; longer ones run on a compute thread."""
    predict_timeout_seconds: Duration = 30.0
    """Time limit of a prediction; a longer one is answered 504."""
    max_queued: Count = 512
    """Maximum number of predictions waiting for a compute thread; more are answered 503."""
    max_queued_per_model: Count = 128
    """Maximum number of them for one model."""
    predict_rate: RateText | None = None
    """Prediction rate of each user, over all their keys and all servers of one database; unset: unlimited."""
    api_rate: RateText = "100/min"
    """Rate of other requests of each user; and of each address without authentication, with wrong credentials, and to
    log in, each by itself; `unlimited`: no limit."""
    plans: dict[str, Plan] = {}
    """Limits by the `subscription_tier` of users, as `{"free": {"predict_rate": "10/s", "api_rate": "60/min",
    "monthly_quota": 10000, "max_stored_bytes": 1000000000}}`."""
    max_rows: Count = 10_000
    """Maximum number of rows in one prediction request."""
    max_body_bytes: Annotated[int, Meta(ge=1024)] = 8 * MIB
    """Maximum size of a prediction body; other bodies may have 64 KiB, uploads apart."""

    max_upload_bytes: Annotated[int, Meta(ge=1024)] = 512 * MIB
    """Maximum size of a model file."""
    max_pending_uploads: Count = 4
    """Maximum number of one user's uploads that wait for their conversion."""
    max_stored_bytes: Size = 20 * GIB
    """Maximum size of the files of all models of one user, with those of failed uploads and deleted models; plans can
    set another."""
    failed_upload_days: Duration = 1.0
    """Retention of the files of failed uploads; what failed and why stays."""
    min_free_disk_bytes: Size = GIB
    """Free disk space that uploads, the history and records of failed logins leave: with less, nothing of these is
    written."""

    convert_parallel: Count = 1
    """Maximum number of conversions that run at the same time."""
    convert_preload: bool = True
    """Import the conversion libraries at the start, so that the first upload does not wait for them; takes about 0.2 GB
    of memory."""
    convert_memory_bytes: Annotated[int, Meta(ge=256 * MIB)] = 4 * GIB
    """Memory limit of one conversion process."""
    convert_cpu_seconds: Count = 120
    """CPU time limit of one conversion process."""
    convert_wall_seconds: Duration = 120.0
    """Time limit of one conversion process."""
    allow_unconfined_conversion: bool = False
    """Convert uploads even if this kernel cannot confine the process: only for files that you trust."""

    history_capacity: Count = 1024
    """Maximum number of predictions that wait to be drained into the history, twice a second; more are counted and
    dropped."""
    history_sample: Share = 1.0
    """Share of predictions that are written to the history; 0: none."""
    history_inputs: Literal["digest", "values"] = "digest"
    """What the history stores of inputs: only their digest, or also the values of the first rows."""
    history_days: Duration = 30.0
    """Retention of predictions in the history."""

    log_format: Literal["auto", "json", "text"] = "auto"
    """`json` is one JSON object per line, `text` is human-readable, `auto` is `text` on a terminal and `json`
    elsewhere."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Minimum level of log lines."""
    slow_request_ms: Duration = 1000.0
    """Requests that take longer are logged as warnings."""
    log_predictions_sample: Share = 0.01
    """Share of predictions answered without Python that are logged, besides all slow ones."""

    drain_pause_seconds: Annotated[float, Meta(ge=0)] = 1.0
    """How long a stopping server reports that it is not ready before it stops accepting connections."""
    drain_seconds: Duration = 30.0
    """How long requests in progress may take to finish when the server stops."""
    stall_seconds: Annotated[float, Meta(ge=3)] = 30.0
    """A serving process whose event loop does not respond for this long is killed and restarted."""

    @property
    def admin_key_file(self) -> Path:
        """The file of the first administrator's key, which is its only line; mode 0600."""
        return self.data_dir / "admin.key"


CHECKS: Mapping[str, Callable[[Any], object]] = MappingProxyType(
    {"trusted_proxies": Networks, "root_path": check_root_path, "cors_origins": check_origins}
)
"""Checks that types cannot express; each raises ValueError."""


def variable(name: str) -> str:
    """Return the environment variable of a setting: `max_rows` → `SERVAL_MAX_ROWS`."""
    return PREFIX + name.upper()
