"""The OpenAPI document as it is served: in the order of the code, with names for its schemas, and no null in a query.

Litestar writes what annotations say. Generated clients need more: a name for each schema, and only what HTTP can send.
"""

from collections.abc import Sequence
from typing import Any, cast

from litestar import Controller
from litestar.handlers import HTTPRouteHandler
from litestar.types import ControllerRouterHandler

Node = dict[str, Any]
"""An object of the document."""

METHODS = ("post", "get", "put", "patch", "delete")
"""The methods of a path where the code says nothing: what makes a thing comes before what shows it and what ends it."""
_VALUES = frozenset({"example", "examples", "default", "const", "enum"})
"""Members of a schema that hold values and no schemas."""


def served_document(document: Node, order: Sequence[str]) -> Node:
    """Return the document as it is served, but for the server's own address.

    `order`: ids of operations, as `declared_operations` returns them.
    """
    document = cast(Node, _simplified(document))
    schemas: dict[str, Node] = dict(document.get("components", {}).get("schemas", {}))
    paths = {
        path: {method: _operation(each, schemas) for method, each in item.items()} for path, item in _paths(document)
    }
    components = document.get("components", {}) | ({"schemas": schemas} if schemas else {})
    return in_order({**document, "paths": paths, "components": components}, order)


def declared_operations(routes: Sequence[ControllerRouterHandler]) -> list[str]:
    """Return the ids of the operations of these routes, in the order in which the code declares them."""
    return [str(handler.operation_id) for route in routes for handler in _handlers(route) if handler.operation_id]


def _handlers(route: ControllerRouterHandler) -> list[HTTPRouteHandler]:
    members = vars(route).values() if isinstance(route, type) and issubclass(route, Controller) else [route]
    return [each for each in members if isinstance(each, HTTPRouteHandler)]


def in_order(document: Node, order: Sequence[str] = ()) -> Node:
    """Return the document with its paths, operations and named schemas in an order that does not depend on routing.

    Operations without a place in `order` come last: a collection before its members, a member before its actions.
    """
    ranks = {operation_id: rank for rank, operation_id in enumerate(order)}

    def rank(operation: Any) -> int:
        return ranks.get(operation.get("operationId"), len(ranks))

    def path_rank(entry: tuple[str, Node]) -> tuple[int, list[str]]:
        return min(map(rank, entry[1].values())), entry[0].split("/")

    def method_rank(entry: tuple[str, Node]) -> tuple[int, int, str]:
        method, operation = entry
        return rank(operation), METHODS.index(method) if method in METHODS else len(METHODS), method

    paths = {
        path: dict(sorted(item.items(), key=method_rank)) for path, item in sorted(_paths(document), key=path_rank)
    }
    components = {
        kind: dict(sorted(parts.items())) if isinstance(parts, dict) else parts
        for kind, parts in document.get("components", {}).items()
    }
    return {**document, "paths": paths, "components": components}


def _paths(document: Node) -> list[tuple[str, Node]]:
    return list(document["paths"].items())


def _simplified(node: Any) -> Any:
    """Return a part of the document with plainer unions.

    `oneOf` becomes `anyOf`, because an integer is also a number; a union of one member becomes that member.
    """
    if isinstance(node, list):
        return [_simplified(item) for item in node]
    if not isinstance(node, dict):
        return node
    plain = {"anyOf" if key == "oneOf" else key: _simplified(value) for key, value in node.items()}
    members = plain.get("anyOf")
    if isinstance(members, list) and len(members) == 1 and "$ref" not in members[0]:
        return {key: value for key, value in plain.items() if key != "anyOf"} | members[0]
    return plain


def _operation(operation: Node, schemas: dict[str, Node]) -> Node:
    """Return an operation whose parameters are never null, and whose inline schemas with a title are named ones."""
    parameters = [{**each, "schema": without_null(each["schema"])} for each in operation.get("parameters", [])]
    named = cast(Node, _with_names(operation, schemas))
    return named | ({"parameters": parameters} if parameters else {})


def without_null(schema: Node) -> Node:
    """Return a schema without null: no query, path or header can hold it, only lack the parameter."""
    changed = dict(schema)
    if isinstance(changed.get("type"), list):
        kinds = [kind for kind in changed["type"] if kind != "null"]
        changed["type"] = kinds[0] if len(kinds) == 1 else kinds
    if "enum" in changed:
        changed["enum"] = [value for value in changed["enum"] if value is not None]
    if "anyOf" in changed:
        members = [without_null(member) for member in changed["anyOf"] if member.get("type") != "null"]
        if len(members) == 1:
            changed = {key: value for key, value in changed.items() if key != "anyOf"} | members[0]
        else:
            changed["anyOf"] = members
    return changed


def _with_names(node: Any, schemas: dict[str, Node]) -> Any:
    """Return a part of the document with references in place of inline schemas that have a title, and add these.

    Raises ValueError for two schemas with one title.
    """
    if isinstance(node, list):
        return [_with_names(item, schemas) for item in node]
    if not isinstance(node, dict):
        return node
    named = {key: value if key in _VALUES else _with_names(value, schemas) for key, value in node.items()}
    title = named.get("title")
    if not isinstance(title, str):
        return named
    if schemas.setdefault(title, named) != named:
        raise ValueError(f"two schemas of the OpenAPI document have the title {title}")
    return {"$ref": f"#/components/schemas/{title}"}
