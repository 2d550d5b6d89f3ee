"""Parameters of the query: a route takes those that its handler names, each of them once."""

from functools import lru_cache
from typing import Any, cast

from litestar.connection import ASGIConnection
from litestar.enums import ParamType
from litestar.handlers import BaseRouteHandler

from serval.errors import BadRequest
from serval.http.wording import did_you_mean, listed, shortened

MAX_ERRORS = 10
"""Parameters that one refusal names at most."""


async def check_query_parameters(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Refuse parameters that the route does not know, and those given more than once, before the body is read.

    A guard of every route. Raises BadRequest.
    """
    if not connection.scope["query_string"]:
        return
    given = connection.query_params
    known = query_parameters(handler, tuple(connection.scope["path_params"]))
    wrong = [(name, _about_unknown(name, known)) for name in given if name not in known]
    wrong += [
        (name, "given more than once; send it once")
        for name, is_list in known.items()
        if not is_list and len(given.getall(name, [])) > 1
    ]
    if wrong:
        name, problem = wrong[0]
        errors = [(shortened(each), text) for each, text in wrong[:MAX_ERRORS]]
        raise BadRequest(f"`{shortened(name)}`: {problem}.", errors=errors)


@lru_cache(maxsize=512)
def query_parameters(handler: BaseRouteHandler, path_names: tuple[str, ...]) -> dict[str, bool]:
    """Return the query parameters of a route, sorted, and whether each may be given more than once.

    `path_names`: the parameters of its path.
    """
    path_parameters = cast(Any, dict.fromkeys(path_names))  # Litestar reads their names only
    parameters = handler.create_kwargs_model(path_parameters).expected_query_params
    return {
        each.field_alias: each.is_sequence
        for each in sorted(parameters, key=lambda each: each.field_alias)
        if each.param_type == ParamType.QUERY
    }


def _about_unknown(name: str, known: dict[str, bool]) -> str:
    takes = f"takes {listed(known)}" if known else "takes none"
    return f"unknown query parameter{did_you_mean(name, known)}; this route {takes}"
