"""The data plane: what Rust offers to Python."""

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime
from os import PathLike
from typing import Literal, Protocol, Self, TypeAlias, final

__all__ = [
    "Answer",
    "Callers",
    "ConfinementError",
    "DataPlane",
    "Deferred",
    "Front",
    "GraphError",
    "History",
    "LoadError",
    "LoadedVersion",
    "Models",
    "NeedsPython",
    "Outputs",
    "PredictionRecord",
    "Predictor",
    "RateState",
    "Rates",
    "Refusal",
    "adopt_orphans",
    "certificate_expiry",
    "check_graph",
    "confine",
    "confinement_support",
    "restrict_files",
]

class GraphError(ValueError):
    """The ONNX holds what Serval never runs; the message names the node and the rule."""

class LoadError(RuntimeError):
    """ONNX Runtime refused the model or a run of it, or its inputs and outputs are not those of the signature."""

class ConfinementError(RuntimeError):
    """The kernel cannot confine this process; the message says what is missing."""

def certificate_expiry(chain: bytes, key: bytes) -> int | None:
    """Return the Unix time at which a certificate expires; None where its dates are written in a way that is not
    understood.

    Both are PEM: the certificate with its chain behind it, and its private key. Raises ValueError with what is wrong
    with them.
    """

def check_graph(onnx: bytes) -> None:
    """Refuse an ONNX model that could read files, never end, or allocate without bound.

    Parses the protobuf by itself, iteratively, before ONNX Runtime sees a byte. Raises GraphError.
    """

def confinement_support() -> dict[str, int | bool]:
    """What the running kernel offers: `landlock_abi` (0: none) and `seccomp`."""

def adopt_orphans() -> None:
    """Make this process the parent of whatever its descendants leave behind when they end. Raises ConfinementError."""

def restrict_files(readable: Sequence[str], *, required: bool = True) -> None:
    """Leave this process nothing of the file system but reading under `readable`, and no TCP, for good (Landlock).

    Call it while there is one thread; the later ones inherit it. `required=False` does nothing where the kernel has no
    Landlock. Raises ConfinementError.
    """

def confine(
    *,
    descriptors: Sequence[int],
    violations: int,
    uid: int | None,
    memory_bytes: int,
    cpu_seconds: int,
    threads: int,
    required: bool = True,
) -> None:
    """Lock all threads of the calling process for good: a seccomp allow-list, limits, another uid, death with the
    parent.

    `descriptors` and `violations` stay open. A refused call fails with EPERM after one letter has been written to
    `violations`: `p` start a process, `c` connect, `f` change a file, `s` signal, `l` look into a process, `k` reach
    into the kernel, `o` any other. `memory_bytes` counts private memory, `cpu_seconds` from now on, `threads` only with
    a `uid` (the kernel counts by user). `required=False` leaves out seccomp where the kernel lacks it. Call it once,
    after `restrict_files` and the imports and before the first hostile byte. Raises ConfinementError and leaves the
    process unusable for hostile work where any part fails.
    """

@final
class LoadedVersion:
    """What was measured when a version was loaded."""

    tile: int
    """Rows are run in multiples of it (1, 2 or 4); 0: one row at a time, because no tile gave equal bits."""
    fixed_seconds: float
    row_seconds: float
    resident_bytes: int
    load_seconds: float

@final
class Outputs:
    """Raw outputs of one run, row-major."""

    labels: bytes
    """int64; empty for a regressor."""
    scores: bytes
    """Probabilities or values in the signature's `scores_dtype`; empty where there are none."""

@final
class Answer:
    """A prediction, encoded."""

    body: bytes
    model: str
    """Ids of the model and the version that answered."""
    version: str
    version_number: int
    cache: Literal["l1", "l2", "miss", "bypass"]
    """`l1` when every row came from the first cache level, `l2` when the others came from the second; `bypass` when the
    caller or the model asked for no cache."""
    rows: int
    cache_hits: int
    latency_seconds: float
    parse_seconds: float
    cache_seconds: float
    queue_seconds: float
    infer_seconds: float
    rate: RateState | None
    """What is left to the caller after it; None: the caller has no limits."""

@final
class RateState:
    """What is left of the limit of which the least share is left, after a charge."""

    policy: str
    """Kind of the subject."""
    limit: int
    """So many in `window_seconds`."""
    window_seconds: int
    remaining: int
    """Requests that may be made at once; of windows below a minute that is a part of the limit."""
    reset_seconds: int
    """Until as many may be made at once as ever; at least 1."""

@final
class Refusal:
    """Why there is no answer; Python renders it as a problem.

    `arguments`: `model` and `version` as they were asked for (`live`: nothing is), `limit` of rows. Of
    `no_probabilities`: the number of the `version`. Of `out_of_time`, a run that is not begun: `limit` in seconds, and
    the `seconds` that it would take after `waiting`; of `too_late`: `limit`. Of `ran_away`: `version_id`, CPU seconds
    `expected` and `used`; the version answers `model_loading` from then on. Of `rate_limited`: the `policy` (kind of
    subject), `limit`, `window_seconds` and `retry_after_seconds`. Of `quota_exceeded`: `limit`, and
    `retry_after_seconds` until the month ends.
    """

    code: Literal[
        "unknown_caller",
        "forbidden",
        "unknown_model",
        "unknown_version",
        "ambiguous_selector",
        "no_probabilities",
        "model_loading",
        "too_many_rows",
        "queue_full",
        "out_of_time",
        "too_late",
        "ran_away",
        "rate_limited",
        "quota_exceeded",
    ]
    arguments: dict[str, str]

@final
class NeedsPython:
    """The body needs Python: strings, booleans, or something to explain. Carries what was decided so far: ids, and the
    version's number.

    They are empty (and 0) where a short body does not plainly name its model.
    """

    model: str
    version: str
    version_number: int

@final
class Deferred:
    """The rest of a prediction is not for the calling thread: a body that takes long to read, a run above
    `inline_below_seconds`."""

    def start(self, done: Callable[[Answer | Refusal | NeedsPython | Exception], object]) -> None:
        """Do the rest on threads of the data plane and call `done` from one of them. Raises ValueError the second
        time."""

    def cancel(self) -> None:
        """Nobody waits any more: a run that has not begun never does, and `done` may not be called."""

    def wait(self) -> Answer | Refusal | NeedsPython:
        """Do the rest while the calling thread waits, without the GIL. Raises ValueError the second time, LoadError
        where the run fails."""

class _PlaneSettings(Protocol):
    """`serval.data_plane.settings.PlaneSettings`."""

    @property
    def runtime_library(self) -> str: ...
    @property
    def cache_bytes(self) -> int: ...
    @property
    def cache_ttl_seconds(self) -> float: ...
    @property
    def cache_url(self) -> str | None: ...
    @property
    def cache_secret(self) -> bytes | None: ...
    @property
    def cache_l2_ttl_seconds(self) -> float: ...
    @property
    def inline_below_seconds(self) -> float: ...
    @property
    def max_rows(self) -> int: ...
    @property
    def threads(self) -> int: ...
    @property
    def timeout_seconds(self) -> float: ...
    @property
    def max_queued(self) -> int: ...
    @property
    def max_queued_per_model(self) -> int: ...
    @property
    def caller_age_seconds(self) -> float: ...
    @property
    def history_capacity(self) -> int: ...
    @property
    def history_sample(self) -> float: ...
    @property
    def keeps_inputs(self) -> bool: ...
    @property
    def log_sample(self) -> float: ...
    @property
    def slow_seconds(self) -> float: ...

class _FrontSettings(Protocol):
    """`serval.data_plane.settings.FrontSettings`."""

    @property
    def connections(self) -> int: ...
    @property
    def connections_by_address(self) -> int: ...
    @property
    def head_bytes(self) -> int: ...
    @property
    def body_bytes(self) -> int: ...
    @property
    def buffered_bytes(self) -> int: ...
    @property
    def forwarded(self) -> int: ...
    @property
    def forwarded_by_user(self) -> int: ...
    @property
    def forwarded_by_address(self) -> int: ...
    @property
    def small_body_bytes(self) -> int: ...
    @property
    def min_body_bytes_per_second(self) -> float: ...
    @property
    def head_seconds(self) -> float: ...
    @property
    def body_seconds(self) -> float: ...
    @property
    def idle_seconds(self) -> float: ...
    @property
    def write_seconds(self) -> float: ...
    @property
    def stall_seconds(self) -> float: ...
    @property
    def https_only(self) -> bool: ...
    @property
    def trusted_proxies(self) -> Sequence[str]: ...

class _Route(Protocol):
    """`serval.data_plane.route.Route`."""

    @property
    def model(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def owner(self) -> str: ...
    @property
    def owner_username(self) -> str: ...
    @property
    def live(self) -> int | None: ...
    @property
    def versions(self) -> Mapping[int, str]: ...
    @property
    def aliases(self) -> Mapping[str, int]: ...
    @property
    def cache(self) -> Literal["off", "l1", "l2", "auto"]: ...
    @property
    def cache_ttl_seconds(self) -> float | None: ...
    @property
    def cache_l2_ttl_seconds(self) -> float | None: ...
    @property
    def is_public(self) -> bool: ...
    @property
    def shared_with(self) -> AbstractSet[str]: ...

class _Rate(Protocol):
    """`serval.settings.plans.Rate`: so many in so many seconds."""

    @property
    def count(self) -> int: ...
    @property
    def seconds(self) -> int: ...

_Limits: TypeAlias = Sequence[tuple[str, _Rate]]
"""`kind:id` of each subject that is charged, and its rate. A rate by the minute or longer may be used up at once."""

class _Quota(Protocol):
    """`serval.auth.caller.Quota`."""

    @property
    def used(self) -> int: ...
    @property
    def allowed(self) -> int: ...
    @property
    def resets_at(self) -> datetime: ...

class _Caller(Protocol):
    """`serval.auth.caller.Caller`."""

    @property
    def digest(self) -> bytes: ...
    @property
    def user_id(self) -> str: ...
    @property
    def key_id(self) -> str | None: ...
    @property
    def is_admin(self) -> bool: ...
    @property
    def can_predict(self) -> bool: ...
    @property
    def models(self) -> AbstractSet[str] | None: ...
    @property
    def expires_at(self) -> datetime | None: ...
    @property
    def predict_limits(self) -> _Limits: ...
    @property
    def quota(self) -> _Quota | None: ...

class _PredictRequest(Protocol):
    """`serval.data_plane.request.PredictRequest`."""

    @property
    def caller(self) -> bytes: ...
    @property
    def shape(self) -> Literal["short", "full"]: ...
    @property
    def all_probabilities(self) -> bool: ...
    @property
    def no_cache(self) -> bool: ...
    @property
    def is_charged(self) -> bool: ...
    @property
    def timeout_seconds(self) -> float | None: ...
    @property
    def started_ns(self) -> int: ...

@final
class DataPlane:
    """Live routes, known callers, loaded models and the cache of one process, used through handles. Every method may be
    called from any thread."""

    models: Models
    callers: Callers
    rates: Rates
    predictor: Predictor
    history: History

    def __new__(cls, settings: _PlaneSettings) -> Self:
        """Raises LoadError when the library cannot be opened, ValueError for a URL or a secret that is not one."""

    def start_front(
        self,
        descriptor: int,
        app_socket: str | PathLike[str],
        settings: _FrontSettings,
        refusals: Sequence[tuple[str, int, Sequence[tuple[str, str]], bytes]],
        placeholders: Mapping[str, str],
        live: bytes,
        certificate: tuple[bytes, bytes] | None,
    ) -> Front:
        """Answer on a listening TCP socket, of which a copy is taken; what is not answered goes to the app on
        `app_socket`.

        `refusals`: name, status, headers and body of each refusal that is sent from here. `placeholders`: a text in
        them, and what is put there: `request_id` or an argument of the refusal. `live`: the body of
        `GET /health/live`. `certificate`: PEM of it with its chain, and of its private key; then the port speaks TLS
        alone, and HTTP/2 too. Raises ValueError.
        """

    def http_requests(self) -> list[tuple[str, str, int, int]]:
        """(method, route, status, count) of the requests that the front has answered by itself. A route is its
        template, and `unmatched` where the front refused before it knew the route."""

    def shared_cache_state(self) -> Literal["off", "up", "read_only", "down"]:
        """The state of the second cache level: `read_only` while writes fail, `down` while it is not asked."""

    def metrics(self, owner: str | None = None) -> bytes:
        """Prometheus text (version 0.0.4) of the data plane's own counters and histograms; of the versions of one owner
        (user id) alone."""

@final
class Models:
    """Loaded versions, and the routes that lead to them."""

    def load(
        self, version: str, onnx: bytes, signature: bytes, numbers: bytes, strings: Sequence[str]
    ) -> LoadedVersion:
        """Load a version and measure it on probe rows.

        `signature`: the JSON of `serval.conversion.signature.Signature`. `numbers`: float64 `[rows, n]`, row-major.
        `strings`: `rows * m` strings, row-major; at least one row. The graph is checked first. Raises GraphError,
        LoadError, ValueError (no whole rows); loading a version twice replaces it. Loads wait for each other.
        """

    def unload(self, version: str) -> bool:
        """Forget a version; runs under way finish. False: it was not loaded."""

    def take_runaways(self) -> list[tuple[str, float, float]]:
        """Versions whose run did not end, since the last call: id, CPU seconds expected and used. They are refused
        until loaded again."""

    def run(self, version: str, numbers: bytes, strings: Sequence[str]) -> Outputs:
        """Run rows through a loaded version exactly as a prediction would (tile and all), without cache. Raises
        LoadError, KeyError, ValueError."""

    def set_routes(self, routes: Sequence[_Route]) -> None:
        """Replace all routes at once."""

@final
class Callers:
    """Who may predict, and what their keys have used."""

    def epoch(self, digest: bytes) -> int:
        """The count of revocations that `put` compares: read it before the database is asked about a key."""

    def put(self, caller: _Caller, epoch: int) -> bool:
        """Install a caller that was looked up, for `caller_age_seconds` or until its credential expires. False: a key
        was revoked after `epoch`, so look again.

        The predictions of a key are counted. Raises ValueError for a rate of nothing, or a quota without a key.
        """

    def revoke(self, digest: bytes) -> None:
        """Forget a caller now."""

    def revoke_user(self, user: str) -> None:
        """Forget every caller of a user now, and install none that was checked before."""

    def revoke_all(self) -> None:
        """Forget every caller now."""

    def recognize(self, digest: bytes, user: str) -> None:
        """Note that a credential is good, for an hour or until it is revoked: its requests count for its user and not for
        their address. It is no permission."""

    def put_unknown(self, digest: bytes) -> None:
        """Remember for five seconds that a key opens nothing, in a table of fixed size."""

    def forget_unknown(self, digest: bytes) -> None:
        """The key may open something now."""

    def is_unknown(self, digest: bytes) -> bool:
        """Whether the key opened nothing a few seconds ago."""

    def user_of(self, digest: bytes) -> str | None:
        """The id of the user of an installed key."""

    def take_usage(self) -> list[tuple[str, float, int]]:
        """What keys have been used for since the last call: key id, Unix seconds of the last answered prediction, how
        many they were."""

    def set_usage(self, key: str, used: int) -> None:
        """Set what the database has of a key's month, now that it has all that `take_usage` has given away."""

@final
class Rates:
    """Rates of requests: charged as predictions are, and shared with other replicas by leases."""

    def charge(self, limits: _Limits) -> RateState | Refusal | None:
        """Charge one request to rates as predictions are, to all or to none. None: there are no limits. Raises
        ValueError."""

    def peek(self, limits: _Limits) -> Refusal | None:
        """What `charge` would refuse with; charges nothing. Raises ValueError."""

    def refund(self, limits: _Limits) -> None:
        """Give back what one `charge` has paid. Raises ValueError."""

    def share(self) -> int:
        """From now on rates are shared among replicas by leases. Returns a descriptor that becomes readable when leases
        are pending."""

    def set_replicas(self, replicas: int) -> None:
        """So many replicas share the rates, this one among them."""

    def partition(self) -> None:
        """Redis grants no leases: until one is granted let the part of one replica through."""

    def pending_leases(self) -> list[tuple[str, int, int, int]]:
        """(bucket, nanoseconds between two, burst, tokens) of each lease that was requested and not granted yet.

        A bucket is `kind:id/seconds`: a subject has one for each window.
        """

    def grant_lease(self, bucket: str, tokens: int, ahead_ns: int) -> None:
        """Grant a pending lease. `ahead_ns`: from now to when the next request to any replica would come if all came
        evenly."""

@final
class Predictor:
    """Answers predictions."""

    def find(self, caller: bytes, model: str, version: int | None, alias: str | None) -> tuple[str, str, int] | Refusal:
        """Route for a caller: (model id, version id, version number) that `answer` would use."""

    def answer(
        self, request: _PredictRequest, model: str | None, version: int | None, alias: str | None, body: bytes
    ) -> Answer | Refusal | NeedsPython | Deferred:
        """Answer a JSON prediction of number columns, or say why not.

        `model`: None where the body names it, as that of the short shape does. A body that is not plainly right is
        NeedsPython, never a guess: Python decodes it again and explains. Both shapes take every key of rows; a short
        body with `inputs` gets the full answer of many rows. Raises LoadError where the run fails.
        """

    def predict(
        self,
        request: _PredictRequest,
        model: str,
        version: str,
        is_list: bool,
        numbers: bytes,
        strings: Sequence[str],
    ) -> Answer | Refusal | Deferred:
        """The second half of `answer`, for rows that Python decoded. `model`, `version`: ids, as NeedsPython or `find`
        gave them.

        `numbers`: float64 `[rows, n]`, row-major, NaN = missing; booleans as 0 and 1. `strings`: `rows * m`.
        `is_list`: the body said `inputs`, so the answer is a list. Raises ValueError where numbers and strings are no
        whole rows, LoadError where the run fails.
        """

@final
class History:
    """The ring of answered predictions."""

    def drain(self, limit: int) -> list[PredictionRecord]:
        """Take the oldest answered predictions out of the ring, at most `limit`."""

@final
class PredictionRecord:
    """A prediction that was answered. Of many rows only the first are recorded."""

    id: str
    unix_microseconds: int
    owner: str
    """User id of the model's owner."""
    model: str
    version: str
    version_number: int
    user: str
    """User id of the caller."""
    rows: int
    digest: str
    """The first 128 bits of BLAKE3 over the canonical bytes of all rows, in hexadecimal."""
    inputs: str | None
    """JSON: a list for each row, in the order of the columns; None unless `keeps_inputs`."""
    predictions: str
    """JSON list."""
    probabilities: str | None
    """JSON list of the probability of each of these predictions; None where the model has none."""
    cache: Literal["l1", "l2", "miss", "bypass"]
    latency_seconds: float
    is_kept: bool
    """It belongs in the table."""
    is_logged: bool
    """It belongs in the log."""

@final
class Front:
    """The public port, open."""

    def beat(self) -> None:
        """The event loop of the app is alive."""

    def close_after_each_answer(self) -> None:
        """Tell clients with their next answer to connect anew."""

    def set_certificate(self, chain: bytes, key: bytes) -> None:
        """Show another certificate to those who connect from now on. Raises ValueError, and then the one before stays
        in use."""

    def stop(self, patience_seconds: float) -> int:
        """Accept nobody any more and let requests under way finish; return how many were cut off. Takes as long: call
        it from a thread."""

    def metrics(self) -> bytes:
        """Prometheus text (version 0.0.4) of the port's own counters."""
