"""A client for Serval: push fitted scikit-learn models, and predict with them."""

from serval_client.answers import Predictions
from serval_client.client import AsyncClient, Client
from serval_client.errors import (
    BadRequest,
    Conflict,
    DeadlineExceeded,
    NotAuthenticated,
    NotFound,
    NotPermitted,
    Problem,
    RateLimited,
    Refused,
    RequestFailed,
    ServalError,
    TooLarge,
    Unavailable,
    Unreachable,
)
from serval_client.expected import Sample
from serval_client.progress import Progress
from serval_client.registry import Examination, Model, Reason, Version

__all__ = [
    "AsyncClient",
    "BadRequest",
    "Client",
    "Conflict",
    "DeadlineExceeded",
    "Examination",
    "Model",
    "NotAuthenticated",
    "NotFound",
    "NotPermitted",
    "Predictions",
    "Problem",
    "Progress",
    "RateLimited",
    "Reason",
    "Refused",
    "RequestFailed",
    "Sample",
    "ServalError",
    "TooLarge",
    "Unavailable",
    "Unreachable",
    "Version",
]
__version__ = "0.1.0"
