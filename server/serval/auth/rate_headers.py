"""What an answer says of the limits of whoever asked."""

from collections.abc import Mapping

from serval.data_plane.plane import RateState
from serval.errors import RateLimited

LIMIT_HEADERS = {
    "RateLimit-Policy": 'Where there are limits, the tightest: `"user";q=1000;w=1` is 1000 in a second for each user.',
    "RateLimit": 'What is left of it: `"user";r=12;t=1` is twelve at once, and all of it again after a second.',
    "RateLimit-Limit": "`q` of `RateLimit-Policy`.",
    "RateLimit-Remaining": "`r` of `RateLimit`.",
    "RateLimit-Reset": "`t` of `RateLimit`.",
}
"""Name and meaning of each header, for the API's own description."""


def limit_headers(
    policy: str, limit: object, window_seconds: object, remaining: object, reset_seconds: object
) -> dict[str, str]:
    """The headers of an answer under a limit of so many in `window_seconds`, with names in lower case.

    `policy`: what is limited, as `user`. The others are integers, or a template's placeholders for them.
    `RateLimit-Policy` and `RateLimit` by draft-ietf-httpapi-ratelimit-headers-10, and the three that older clients read.
    """
    return {
        "ratelimit-policy": f'"{policy}";q={limit};w={window_seconds}',
        "ratelimit": f'"{policy}";r={remaining};t={reset_seconds}',
        "ratelimit-limit": str(limit),
        "ratelimit-remaining": str(remaining),
        "ratelimit-reset": str(reset_seconds),
    }


def rate_headers(rate: RateState) -> dict[str, str]:
    """The headers of an answer to a caller with limits."""
    return limit_headers(rate.policy, rate.limit, rate.window_seconds, rate.remaining, rate.reset_seconds)


def too_often(arguments: Mapping[str, str]) -> RateLimited:
    """The error for a refusal of the ledger, by its arguments."""
    policy, limit, window, wait = (
        arguments[name] for name in ("policy", "limit", "window_seconds", "retry_after_seconds")
    )
    return RateLimited(
        f"The rate `{policy}` lets {limit} through in {window} s, which are used up: ask again in {wait} s.",
        headers={"retry-after": wait, **limit_headers(policy, limit, window, remaining=0, reset_seconds=wait)},
    )
