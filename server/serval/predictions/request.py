"""What a prediction request asks for, beside its rows: read from HTTP, or made for a stored example."""

import time
from email.message import Message

import msgspec

from serval.auth.caller import Caller, ClientInfo
from serval.auth.credentials import Credential, read_credential
from serval.data_plane.request import CsvDialect, PredictRequest, Shape
from serval.errors import UnsupportedContent
from serval.http.request import MAX_VERSION_NUMBER, HttpRequest
from serval.http.request_logging import client_of
from serval.predictions.csv_rows import read_dialect

JSON = "application/json"


class PredictionRequest(msgspec.Struct, kw_only=True):
    """What a request asks for, beside its rows."""

    credential: Credential
    client: ClientInfo
    shape: Shape
    model: str | None
    """Id, name or `owner/name`; None: the body names it."""
    version: int | None = None
    all_probabilities: bool = False
    no_cache: bool = False
    csv: CsvDialect | None = None
    """None: the body is JSON."""
    started_ns: int
    """CLOCK_MONOTONIC when the body began to arrive."""

    @property
    def digest(self) -> bytes:
        """SHA-256 of the credential, by which the data plane knows the caller."""
        return self.credential.digest

    def for_data_plane(self) -> PredictRequest:
        """Return it as the data plane takes it."""
        return PredictRequest(
            caller=self.digest,
            shape=self.shape,
            all_probabilities=self.all_probabilities,
            no_cache=self.no_cache,
            csv=self.csv,
            started_ns=self.started_ns,
        )


def read_request(
    request: HttpRequest, shape: Shape, model: str | None, version: int | None, outputs: str | None
) -> PredictionRequest:
    """Return what an HTTP request asks for. Raises NotAuthenticated, UnsupportedContent."""
    return PredictionRequest(
        credential=read_credential(request.scope["headers"]),
        client=client_of(request.scope),
        shape=shape,
        model=model,
        # A caller may name a number that no integer of the data plane holds.
        version=None if version is None else min(version, MAX_VERSION_NUMBER),
        all_probabilities=outputs == "probabilities",
        no_cache=is_no_cache(request.headers.get("cache-control", "")),
        csv=_csv_dialect(request.headers.get("content-type", JSON)),
        started_ns=time.monotonic_ns(),
    )


def uncached_request(request: HttpRequest, caller: Caller, model_id: str, version: int) -> PredictionRequest:
    """Return a request for one version that bypasses the cache and asks for all probabilities. Raises NotAuthenticated,
    UnsupportedContent."""
    return PredictionRequest(
        credential=read_credential(request.scope["headers"]),
        client=caller.origin,
        shape="full",
        model=model_id,
        version=version,
        all_probabilities=True,
        no_cache=True,
        csv=_csv_dialect(request.headers.get("content-type", JSON)),
        started_ns=time.monotonic_ns(),
    )


def is_no_cache(cache_control: str) -> bool:
    """Whether `no-cache` is among the directives of a Cache-Control header."""
    return "no-cache" in {directive.partition("=")[0].strip().lower() for directive in cache_control.split(",")}


def _csv_dialect(content_type: str) -> CsvDialect | None:
    """Return what the parameters of `text/csv` say, None for JSON. Raises UnsupportedContent for anything else."""
    if content_type == JSON:
        return None
    header = Message()
    header["Content-Type"] = content_type
    kind = header.get_content_type()
    if kind == "text/csv":
        return read_dialect({name.lower(): str(value) for name, value in header.get_params([])[1:]})
    if kind == JSON:
        return None
    raise UnsupportedContent(
        f"`Content-Type`: send rows as `application/json` or `text/csv`, not `{content_type[:60]}`."
    )
