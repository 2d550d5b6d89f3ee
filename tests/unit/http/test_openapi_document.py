"""How Litestar's document becomes the one that is served."""

from typing import Any

import pytest
from litestar import Controller, get, post

from serval.http.openapi_document import declared_operations, in_order, served_document, without_null


@post("/things", operation_id="make_thing")
async def make_thing() -> None: ...


class Things(Controller):
    """Handlers in an order that is not that of their names."""

    path = "/things"

    @get("/{thing:str}", operation_id="show_thing")
    async def show(self) -> None: ...

    @post("/{thing:str}/break", operation_id="break_thing")
    async def break_it(self) -> None: ...


def document(paths: dict[str, Any], **schemas: Any) -> dict[str, Any]:
    return {"paths": paths, "components": {"schemas": schemas}}


def with_body(schema: Any) -> dict[str, Any]:
    return {"/a": {"post": {"requestBody": {"content": {"application/json": {"schema": schema}}}}}}


def body_of(served: dict[str, Any]) -> Any:
    return served["paths"]["/a"]["post"]["requestBody"]["content"]["application/json"]["schema"]


def test_operations_are_declared_in_the_order_of_the_code() -> None:
    assert declared_operations([make_thing, Things]) == ["make_thing", "show_thing", "break_thing"]


def test_paths_and_methods_follow_the_declared_order_and_then_their_names() -> None:
    shuffled = document(
        {
            "/z": {"get": {"operationId": "other"}},
            "/b/{x}": {"get": {"operationId": "two"}, "post": {"operationId": "one"}},
            "/a": {"delete": {"operationId": "three"}, "get": {"operationId": "unknown"}},
        },
        Zebra={},
        Ant={},
    )
    ordered = in_order(shuffled, ["one", "two", "three"])
    assert {path: list(item) for path, item in ordered["paths"].items()} == {
        "/b/{x}": ["post", "get"],
        "/a": ["delete", "get"],
        "/z": ["get"],
    }
    assert list(ordered["paths"]) == ["/b/{x}", "/a", "/z"]
    assert list(ordered["components"]["schemas"]) == ["Ant", "Zebra"]


def test_a_schema_with_a_title_gets_a_name_wherever_it_stands() -> None:
    cell = {"title": "Cell", "type": ["number", "null"]}
    row = {"title": "Row", "type": "array", "items": cell}
    served = served_document(document(with_body({"title": "Rows", "oneOf": [row, cell]}), Other={}), [])
    assert body_of(served) == {"$ref": "#/components/schemas/Rows"}
    schemas = served["components"]["schemas"]
    assert schemas["Rows"]["anyOf"] == [{"$ref": "#/components/schemas/Row"}, {"$ref": "#/components/schemas/Cell"}]
    assert schemas["Row"]["items"] == {"$ref": "#/components/schemas/Cell"}
    assert list(schemas) == ["Cell", "Other", "Row", "Rows"]


def test_a_title_among_values_names_nothing() -> None:
    schema = {"type": "object", "properties": {"title": {"type": "string"}}, "example": {"title": "A book"}}
    assert body_of(served_document(document(with_body(schema)), [])) == schema


def test_two_schemas_with_one_title_are_a_mistake() -> None:
    schema = {"anyOf": [{"title": "Cell", "type": "number"}, {"title": "Cell", "type": "string"}]}
    with pytest.raises(ValueError, match="the title Cell"):
        served_document(document(with_body(schema)), [])


def test_a_union_of_one_is_its_member() -> None:
    schema = {"oneOf": [{"type": "string"}], "maxLength": 3}
    assert body_of(served_document(document(with_body(schema)), [])) == {"type": "string", "maxLength": 3}


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"anyOf": [{"type": "integer"}, {"type": "null"}], "minimum": 1}, {"type": "integer", "minimum": 1}),
        ({"type": ["null", "string"], "enum": ["a", None]}, {"type": "string", "enum": ["a"]}),
        (
            {"anyOf": [{"type": "integer"}, {"type": "string"}, {"type": "null"}]},
            {"anyOf": [{"type": "integer"}, {"type": "string"}]},
        ),
        ({"type": ["integer", "string", "null"]}, {"type": ["integer", "string"]}),
        ({"type": "string"}, {"type": "string"}),
    ],
)
def test_parameters_are_never_null(schema: dict[str, Any], expected: dict[str, Any]) -> None:
    assert without_null(schema) == expected
    operation = {"get": {"parameters": [{"name": "x", "in": "query", "schema": schema}]}}
    served = served_document(document({"/a": operation}), [])
    assert served["paths"]["/a"]["get"]["parameters"][0]["schema"] == expected
    assert operation["get"]["parameters"][0]["schema"] == schema
