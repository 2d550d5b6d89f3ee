"""Who may register: what the settings allow, and no page of another site."""

from urllib.parse import urlsplit

from serval.errors import NotPermitted
from serval.http.request import HttpRequest
from serval.settings.addresses import ANY_ORIGIN, is_loopback
from serval.settings.settings import Settings

_FORWARDED = ("forwarded", "via", "x-forwarded-for", "x-real-ip")
_OWN_PAGE = {"same-origin", "none"}
"""`Sec-Fetch-Site` of a page of this server, and of what no page has caused."""


def check_may_register(request: HttpRequest, settings: Settings) -> None:
    """Raises NotPermitted where a client may not register."""
    is_automatic = settings.registration == "auto"
    if settings.registration == "closed" or (is_automatic and not is_local(request, settings)):
        raise NotPermitted("Registration is closed: ask an administrator for an account (`registration`).")
    if is_automatic and not _names_this_machine(request.headers.get("host", "")):
        raise NotPermitted(
            "Registration is open at addresses of this machine only, as `localhost` or `127.0.0.1`: use one of them."
        )
    if not _is_of_own_page(request, settings):
        raise NotPermitted(
            "This page is of another origin: only pages that Serval serves, or those of an origin in `cors_origins`, "
            "may register users."
        )


def is_local(request: HttpRequest, settings: Settings) -> bool:
    """Whether only this machine can have sent a request."""
    client = request.client
    # Behind a proxy on this machine that the settings do not name, every client would look local.
    is_forwarded = bool(settings.trusted_proxies) or any(name in request.headers for name in _FORWARDED)
    return is_loopback(settings.host) and client is not None and is_loopback(client.host) and not is_forwarded


def _names_this_machine(host: str) -> bool:
    """Whether a `Host` header is of this machine, and not a name that another site has pointed at it."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    return is_loopback(name) or name.endswith(".localhost")


def _is_of_own_page(request: HttpRequest, settings: Settings) -> bool:
    """Whether no page of another site has sent a request. Programs send neither of the headers."""
    origins = request.headers.getall("origin", [])
    if not origins:
        return request.headers.get("sec-fetch-site", "none") in _OWN_PAGE
    if settings.registration == "open" and ANY_ORIGIN in settings.cors_origins:
        return True
    allowed = {request.own_origin, *settings.cors_origins}
    return all(origin != ANY_ORIGIN and origin in allowed for origin in origins)
