"""The data plane: what Rust offers to Python."""

from collections.abc import Callable, Sequence
from os import PathLike
from typing import Literal, Self, final

__all__ = [
    "Answer",
    "ConfinementError",
    "DataPlane",
    "Front",
    "FrontLimits",
    "GraphError",
    "Later",
    "LoadError",
    "Loaded",
    "NotMine",
    "Outputs",
    "RateState",
    "Refusal",
    "Route",
    "Seen",
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
    """The kernel can not confine this process; the message says what is missing."""

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
    Landlock.
    Raises ConfinementError.
    """

def confine(
    *,
    descriptors: Sequence[int],
    acts: int,
    uid: int | None,
    memory_bytes: int,
    cpu_seconds: int,
    threads: int,
    required: bool = True,
) -> None:
    """Lock all threads of the calling process for good: a seccomp allow-list, limits, another uid, death with the
    parent.

    `descriptors` and `acts` stay open. A refused call fails with EPERM after one letter has been written to `acts`: `p`
    start a
    process, `c` connect, `f` change a file, `s` signal, `l` look into a process, `k` reach into the kernel, `o` any
    other.
    `memory_bytes` counts private memory, `cpu_seconds` from now on, `threads` only with a `uid` (the kernel counts by
    user).
    `required=False` leaves out seccomp where the kernel lacks it.
    Call it once, after `restrict_files` and the imports and before the first hostile byte. Raises ConfinementError and
    leaves the
    process unusable for hostile work where any part fails.
    """

@final
class Loaded:
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
    caller or the
    model asked for no cache."""
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

    `arguments`: `model` and `version` as they were asked for (`live`: nothing is), `limit` of rows. Of `out_of_time`, a
    run that
    is not begun: `limit` in seconds, and the `seconds` that it would take after `waiting`; of `too_late`: `limit`. Of
    `ran_away`:
    `version_id`, CPU seconds `expected` and `used`; the version answers `model_loading` from then on. Of
    `rate_limited`: the `policy`
    (kind of subject), `limit`, `window_seconds` and `retry_after_seconds`. Of `quota_exceeded`: `limit`, and
    `retry_after_seconds` until
    the month ends.
    """

    code: Literal[
        "unknown_caller",
        "forbidden",
        "unknown_model",
        "unknown_version",
        "ambiguous_selector",
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
class NotMine:
    """The body needs Python: strings, booleans, or something to explain. Carries what was decided so far: ids, and the
    version's number.

    They are empty (and 0) where a short body does not plainly name its model.
    """

    model: str
    version: str
    version_number: int

@final
class Later:
    """What is left of a prediction is not for the calling thread: a body that takes long to read, a run above
    `cheap_seconds`."""

    def start(self, done: Callable[[Answer | Refusal | NotMine | Exception], object]) -> None:
        """Do the rest on threads of the data plane and call `done` from one of them. Raises ValueError the second
        time."""

    def cancel(self) -> None:
        """Nobody waits any more: a run that has not begun never does, and `done` may not be called."""

    def wait(self) -> Answer | Refusal | NotMine:
        """Do the rest while the calling thread waits, without the GIL. Raises ValueError the second time, LoadError
        where the run fails."""

@final
class DataPlane:
    """Live routes, known callers, loaded models and the cache of one process. Every method may be called from any
    thread."""

    def __new__(
        cls,
        *,
        runtime_library: str,
        cache_bytes: int,
        cache_ttl_seconds: float,
        cheap_seconds: float,
        max_rows: int,
        threads: int = 1,
        timeout_seconds: float = 30.0,
        max_waiting: int = 512,
        max_waiting_per_model: int = 128,
        cache_url: str | None = None,
        cache_secret: bytes | None = None,
        cache_l2_ttl_seconds: float = 300.0,
        history_capacity: int = 8192,
        history_sample: float = 1.0,
        history_inputs: bool = False,
        log_sample: float = 0.0,
        slow_seconds: float = 1.0,
    ) -> Self:
        """`runtime_library`: path of `libonnxruntime.so`. `cheap_seconds`: calls estimated above it answer `Later`.
        `threads`: of those that wait for sockets, and again of those that run what is dear. `timeout_seconds`: for the
        rest of a `Later`.
        `max_waiting`: runs that wait for those threads, of all models; more are refused.
        `cache_url`: of the Redis that is the second cache level, connected to in the background; None: there is none.
        `cache_secret`: 32
        bytes, equal in all replicas that share it; None: of this process alone.

        `history_capacity`: entries of the ring of answered predictions; `history_sample`: the share that is marked as
        kept; `log_sample`:
        the share that is marked as logged, of those answered by the data plane's own listener, beside all slower than
        `slow_seconds`.

        Raises LoadError when the library can not be opened, ValueError for a URL or a secret that is none.
        """

    def load(self, version: str, onnx: bytes, signature: bytes, numbers: bytes, strings: Sequence[str]) -> Loaded:
        """Load a version and measure it on probe rows.

        `signature`: the JSON of `serval.conversion.signature.Signature`. `numbers`: float64 `[rows, n]`, row-major.
        `strings`: `rows * m` strings, row-major; at least one row. The graph is checked first. Raises GraphError,
        LoadError, ValueError (no whole rows);
        loading a version twice replaces it. Loads wait for each other.
        """

    def unload(self, version: str) -> bool:
        """Forget a version; runs under way finish. False: it was not loaded."""

    def take_runaways(self) -> list[tuple[str, float, float]]:
        """Versions whose run did not end, since the last call: id, CPU seconds expected and used. They are asked no
        more until loaded again."""

    def run(self, version: str, numbers: bytes, strings: Sequence[str]) -> Outputs:
        """Run rows through a loaded version exactly as a prediction would (tile and all), without cache. Raises
        LoadError, KeyError, ValueError."""

    def set_routes(self, routes: Sequence[Route]) -> None:
        """Replace all routes at once."""

    def epoch(self, digest: bytes) -> int:
        """The count of revocations that `put_caller` compares: read it before the database is asked about a key."""

    def put_caller(
        self,
        digest: bytes,
        *,
        user: str,
        key: str | None,
        is_admin: bool,
        can_predict: bool,
        models: Sequence[str] | None,
        expires_at: float,
        limits: Sequence[tuple[str, int, int]],
        quota: tuple[int, int, float] | None,
        epoch: int,
    ) -> bool:
        """Install a caller checked by Python until `expires_at` (Unix seconds). False: a key was revoked after `epoch`,
        so look again.

        `digest`: SHA-256 of what it presents, a key or an access token. `key`: id of the key whose predictions are
        counted; None: they are
        not. `models`: ids; None: all of theirs. `limits`: (`kind:id`, count, seconds) of each rate that a prediction is
        charged to; a rate
        by the minute or longer may be used up at once. `quota`: predictions that the key has made this month by the
        database, those
        allowed, and when the month ends (Unix seconds). Raises ValueError for a rate of nothing, or a quota of no key.
        """

    def take_uses(self) -> list[tuple[str, float, int]]:
        """What keys have been used for since the last call: key id, Unix seconds of the last answered prediction, how
        many they were."""

    def set_used(self, key: str, used: int) -> None:
        """Tell what the database has of a key's month, now that it has all that `take_uses` has given away."""

    def charge(self, limits: Sequence[tuple[str, int, int]]) -> RateState | Refusal | None:
        """Charge one request to rates as predictions are, to all or to none. None: there are no limits. Raises
        ValueError."""

    def peek(self, limits: Sequence[tuple[str, int, int]]) -> Refusal | None:
        """What `charge` would refuse with; charges nothing. Raises ValueError."""

    def refund(self, limits: Sequence[tuple[str, int, int]]) -> None:
        """Give back what one `charge` has paid. Raises ValueError."""

    def revoke(self, digest: bytes) -> None:
        """Forget a caller now."""

    def revoke_user(self, user: str) -> None:
        """Forget every caller of a user now, and install none that was checked before."""

    def revoke_all(self) -> None:
        """Forget every caller now."""

    def put_unknown(self, digest: bytes) -> None:
        """Remember for five seconds that a key opens nothing, in a table of fixed size."""

    def forget_unknown(self, digest: bytes) -> None:
        """The key may open something now."""

    def is_unknown(self, digest: bytes) -> bool:
        """Whether the key opened nothing a few seconds ago."""

    def user_of(self, digest: bytes) -> str | None:
        """The id of the user of an installed key."""

    def share_rates(self) -> int:
        """From now on rates are shared among replicas by leases. Returns a descriptor that becomes readable when leases
        are wanted."""

    def set_replicas(self, replicas: int) -> None:
        """So many replicas share the rates, this one among them."""

    def divide_rates(self) -> None:
        """Redis grants no leases: until one is granted let the part of one replica through."""

    def wanted_leases(self) -> list[tuple[str, int, int, int]]:
        """(account, nanoseconds between two, burst, tokens wanted) of each lease that was asked for and not granted
        yet.

        An account is `kind:id/seconds`: a subject has one for each window.
        """

    def grant_lease(self, account: str, tokens: int, ahead_ns: int) -> None:
        """Answer a wanted lease. `ahead_ns`: from now to when the next request to any replica would come if all came
        evenly."""

    def find(self, caller: bytes, model: str, version: int | None, alias: str | None) -> tuple[str, str, int] | Refusal:
        """Route for a caller: (model id, version id, version number) that `answer` would use."""

    def answer(
        self,
        caller: bytes,
        shape: Literal["short", "full"],
        model: str | None,
        version: int | None,
        alias: str | None,
        all_probabilities: bool,
        no_cache: bool,
        body: bytes,
        started_ns: int,
    ) -> Answer | Refusal | NotMine | Later:
        """Answer a JSON prediction of number columns, or say why not.

        `shape`: `short` is `POST /predict` (the model's name is in the body), `full` is `POST /api/v1/predict/{model}`.
        `started_ns`: CLOCK_MONOTONIC when the first byte of the body arrived; `latency_ms` counts from there.
        A body that is not plainly right is NotMine, never a guess: Python decodes it again and explains. Both shapes
        take every key of rows;
        a short body with `inputs` gets the full answer of many rows. Raises LoadError where the run fails.
        """

    def predict(
        self,
        caller: bytes,
        shape: Literal["short", "full"],
        model: str,
        version: str,
        all_probabilities: bool,
        no_cache: bool,
        is_list: bool,
        numbers: bytes,
        strings: Sequence[str],
        started_ns: int,
    ) -> Answer | Refusal | Later:
        """The second half of `answer`, for rows that Python decoded. `model`, `version`: ids, as NotMine or `find` gave
        them.

        `numbers`: float64 `[rows, n]`, row-major, NaN = missing; booleans as 0 and 1. `strings`: `rows * m`.
        `is_list`: the body said `inputs`, so the answer is a list. Raises ValueError where numbers and strings are no
        whole rows, LoadError where the run fails.
        """

    def start_front(
        self,
        descriptor: int,
        app_socket: str | PathLike[str],
        limits: FrontLimits,
        refusals: Sequence[tuple[str, int, Sequence[tuple[str, str]], bytes]],
        marks: dict[str, str],
        live: bytes,
        certificate: tuple[bytes, bytes] | None = None,
    ) -> Front:
        """Answer on a listening TCP socket, of which a copy is taken; what is not answered goes to the app on
        `app_socket`.

        `refusals`: name, status, headers and body of each refusal that is sent from here. `marks`: a text in them that
        stands for a gap,
        and what the gap is for: `request_id` or an argument of the refusal. `live`: the body of `GET /health/live`.
        `certificate`: PEM of it with its chain, and of its private key; then the port speaks TLS alone, and HTTP/2 too.
        Raises ValueError.
        """

    def level_two(self) -> Literal["off", "up", "read_only", "down"]:
        """The state of the second cache level: `read_only` while writes fail, `down` while it is not asked."""

    def drain_history(self, limit: int) -> list[Seen]:
        """Take the oldest answered predictions out of the ring, at most `limit`."""

    def metrics(self, owner: str | None = None) -> bytes:
        """Prometheus text (version 0.0.4) of the data plane's own counters and histograms; of the versions of one owner
        (user id) alone."""

@final
class Seen:
    """A prediction that was answered. Of many rows only the first are told."""

    id: str
    unix_microseconds: int
    owner: str
    """User id of the model's owner."""
    model: str
    version: str
    version_number: int
    user: str
    """User id of who asked."""
    rows: int
    digest: str
    """The first 128 bits of BLAKE3 over the canonical bytes of all rows, in hexadecimal."""
    inputs: str | None
    """JSON: a list for each row, in the order of the columns; None unless `history_inputs`."""
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
class FrontLimits:
    """What the public port may take of the machine, and how long its clients may take."""

    def __new__(
        cls,
        *,
        connections: int,
        connections_by_address: int,
        head_bytes: int,
        body_bytes: int,
        buffered_bytes: int,
        forwarded: int,
        head_seconds: float,
        body_seconds: float,
        idle_seconds: float,
        write_seconds: float,
        stall_seconds: float,
        https_only: bool,
        trusted_proxies: Sequence[str],
    ) -> Self:
        """`buffered_bytes`: of bodies, over all connections. `forwarded`: requests that the app answers at a time.

        `stall_seconds`: `GET /health/live` is refused when the last `beat` is older. `https_only`: what came over plain
        HTTP is left to
        the app, unless one of `trusted_proxies` (addresses or networks) says that it came to it over TLS. Raises
        ValueError.
        """

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

@final
class Route:
    """A model that can be asked."""

    def __new__(
        cls,
        *,
        model: str,
        name: str,
        owner: str,
        owner_username: str,
        live: int | None,
        versions: dict[int, str],
        aliases: dict[str, int],
        cache_ttl_seconds: float | None,
        cache: Literal["off", "l1", "l2", "auto"] = "auto",
        cache_l2_ttl_seconds: float | None = None,
        is_public: bool,
        shared_with: Sequence[str],
    ) -> Self:
        """`owner`: user id. `live`: the number of the version that answers. `versions`: number → version id, of those
        that may answer.

        `cache`: the levels that are used; `l2` asks the second one for every call, `auto` for those that cost more than
        the round trip.
        `cache_ttl_seconds`, `cache_l2_ttl_seconds`: None takes the default, 0 turns the level off.
        `is_public`: everybody may ask it, and all who ask share its cached rows. `shared_with`: user ids of others who
        may.
        """
