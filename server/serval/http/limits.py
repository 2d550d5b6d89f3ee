"""What an answer says of the limits of whoever asked."""

LIMIT_HEADERS = {
    "RateLimit-Policy": 'Where there are limits, the tightest: `"user";q=1000;w=1` is 1000 in a second for each user.',
    "RateLimit": 'What is left of it: `"user";r=12;t=1` is twelve at once, and all of it again after a second.',
    "RateLimit-Limit": "`q` of `RateLimit-Policy`.",
    "RateLimit-Remaining": "`r` of `RateLimit`.",
    "RateLimit-Reset": "`t` of `RateLimit`.",
}
"""Name and meaning of each header, for the API's own description."""


def limit_headers(policy: str, limit: int, window_seconds: int, remaining: int, reset_seconds: int) -> dict[str, str]:
    """The headers of an answer under a limit of so many in `window_seconds`, with names in lower case.

    `policy`: what is limited, as `user`. `RateLimit-Policy` and `RateLimit` by draft-ietf-httpapi-ratelimit-headers-10, and the three
    that older clients read.
    """
    return {
        "ratelimit-policy": f'"{policy}";q={limit};w={window_seconds}',
        "ratelimit": f'"{policy}";r={remaining};t={reset_seconds}',
        "ratelimit-limit": str(limit),
        "ratelimit-remaining": str(remaining),
        "ratelimit-reset": str(reset_seconds),
    }
