"""Invalid parts of a request that the framework found."""

from litestar.handlers import BaseRouteHandler
from litestar.params import ParameterKwarg

from serval.http.wording import sentence


def invalid_parts(extra: object, handler: BaseRouteHandler | None) -> list[tuple[str, str]]:
    """Return (path, message) of each invalid part that the framework reports, in the words of the request.

    `extra`: what its error holds. `handler`: the route's; None: there is no route.
    """
    if not isinstance(extra, list):
        return []
    return [
        _part(str(part.get("key", "body")), str(part["message"]), handler)
        for part in extra
        if isinstance(part, dict) and "message" in part
    ]


def _part(key: str, message: str, handler: BaseRouteHandler | None) -> tuple[str, str]:
    if key == "data":
        return "body", "absent" if message == "'data'" else message
    parameter = None if handler is None else handler.parsed_fn_signature.parameters.get(key)
    if parameter is None:
        return key, "absent" if message == f"'{key}'" else message
    definition = parameter.kwarg_definition
    name = definition.name if isinstance(definition, ParameterKwarg) and definition.name else key
    return name, "absent" if message == f"'{key}'" else sentence(message, parameter.annotation)
