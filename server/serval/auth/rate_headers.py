"""Response headers that state the rate limits of a caller."""

from collections.abc import Mapping

from serval.data_plane.plane import RateState
from serval.errors import RateLimited

LIMIT_HEADERS = {
    "RateLimit-Policy": 'The tightest limit, if any: `"user";q=1000;w=1` is 1000 requests per second for each user.',
    "RateLimit": 'What is left of it: `"user";r=12;t=1` is 12 requests now, and all of them again after 1 second.',
    "RateLimit-Limit": "`q` of `RateLimit-Policy`.",
    "RateLimit-Remaining": "`r` of `RateLimit`.",
    "RateLimit-Reset": "`t` of `RateLimit`.",
}
"""Name and meaning of each header, for the OpenAPI document."""


def limit_headers(
    policy: str, limit: object, window_seconds: object, remaining: object, reset_seconds: object
) -> dict[str, str]:
    """Return the headers of a response under a limit of so many requests in `window_seconds`, names in lower case.

    `policy`: what is limited, as `user`. The other arguments are integers, or a template's placeholders for them.
    `RateLimit-Policy` and `RateLimit` follow draft-ietf-httpapi-ratelimit-headers-10; older clients read the other
    three.
    """
    return {
        "ratelimit-policy": f'"{policy}";q={limit};w={window_seconds}',
        "ratelimit": f'"{policy}";r={remaining};t={reset_seconds}',
        "ratelimit-limit": str(limit),
        "ratelimit-remaining": str(remaining),
        "ratelimit-reset": str(reset_seconds),
    }


def rate_headers(rate: RateState) -> dict[str, str]:
    """Return the headers of a response to a caller with limits."""
    return limit_headers(rate.policy, rate.limit, rate.window_seconds, rate.remaining, rate.reset_seconds)


def rate_limited(arguments: Mapping[str, str]) -> RateLimited:
    """Return the error for a refusal of the rate limiter, by its arguments."""
    policy, limit, window, wait = (
        arguments[name] for name in ("policy", "limit", "window_seconds", "retry_after_seconds")
    )
    return RateLimited(
        f"The rate `{policy}` allows {limit} requests in {window} s, which are used up: try again in {wait} s.",
        headers={"retry-after": wait, **limit_headers(policy, limit, window, remaining=0, reset_seconds=wait)},
    )
