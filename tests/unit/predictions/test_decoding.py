"""JSON bodies of a prediction."""

import json
import math
import re
import tracemalloc

import numpy as np
import pytest

from serval.conversion.signature import MISSING_STRING, Column, Signature
from serval.errors import InvalidFeatures, MalformedBody, ServalError, TooLarge
from serval.predictions.decoding import decode_json, model_name
from serval.predictions.values import Decoded
from support.signatures import signature_of


def decode(signature: Signature, body: object, shape: str = "full", max_rows: int = 100) -> Decoded:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return decode_json(raw, signature, max_rows=max_rows, shape=shape)


def numbers(decoded: Decoded) -> list[list[float]]:
    return np.frombuffer(decoded.numbers).reshape(decoded.rows, -1).tolist()


def errors(signature: Signature, body: object, shape: str = "full") -> dict[str, str]:
    with pytest.raises(InvalidFeatures) as caught:
        decode(signature, body, shape)
    first_path, first_message = caught.value.errors[0]
    assert caught.value.message.startswith(f"{first_path}: {first_message}")
    return dict(caught.value.errors)


ROW = [5.1, 3.5, 1.4, 0.2]
NAMED = {"petal width (cm)": 0.2, "sepal_width": 3.5, "petal_length": 1.4, "sepal_length": 5.1}


@pytest.mark.parametrize("key", ["input", "data", "features"])
@pytest.mark.parametrize("row", [ROW, NAMED], ids=["by position", "by name"])
def test_input_is_decoded_as_one_row(iris: Signature, key: str, row: object) -> None:
    decoded = decode(iris, {key: row})
    assert (decoded.is_list, decoded.rows, numbers(decoded), decoded.strings) == (False, 1, [ROW], [])


def test_inputs_are_decoded_in_order_by_position_and_by_name(iris: Signature) -> None:
    decoded = decode(iris, {"inputs": [[1, 2, 3, 4], NAMED]})
    assert (decoded.is_list, decoded.rows, numbers(decoded)) == (True, 2, [[1, 2, 3, 4], ROW])


def test_a_list_of_one_row_is_decoded_as_a_list(iris: Signature) -> None:
    assert decode(iris, {"inputs": [ROW]}).is_list


def test_columns_of_each_kind_go_to_their_tensor(penguins: Signature) -> None:
    decoded = decode(
        penguins, {"inputs": [["Biscoe", 39.1, True, "male"], [None, None, 0, "female"], ["", 1, False, "male"]]}
    )
    assert decoded.strings == ["Biscoe", "male", MISSING_STRING, "female", "", "male"]
    np.testing.assert_array_equal(numbers(decoded), [[39.1, 1], [math.nan, 0], [1, 0]])


def test_negative_zero_reaches_the_tensor(iris: Signature) -> None:
    assert math.copysign(1, numbers(decode(iris, b'{"input": [-0, 1, 1, 1]}'))[0][0]) == -1


def test_a_short_body_names_its_model(iris: Signature) -> None:
    assert decode(iris, {"model_name": "iris", "features": ROW}, "short").model_name == "iris"


def test_a_full_body_has_no_model_name(iris: Signature) -> None:
    assert decode(iris, {"input": ROW}).model_name is None


@pytest.mark.parametrize(
    ("body", "path", "message"),
    [
        ([1], "body", "expected an object"),
        ({}, "body", "no row in it"),
        ({"input": ROW, "inputs": [ROW]}, "inputs", "`input` and `inputs` are both there"),
        ({"imput": ROW}, "imput", 'did you mean "input"?'),
        ({"instances": [ROW]}, "instances", "many go under `inputs`"),
        ({"input": ROW, "version": 3}, "version", "unknown key"),
        ({"model_name": "iris", "input": ROW}, "model_name", "leave it out"),
        ({"inputs": []}, "inputs", "there is no row"),
        ({"inputs": NAMED}, "inputs", "one row goes under `input`"),
        ({"inputs": [1, 2]}, "inputs[0]", "one row goes under `input`"),
        ({"features": [ROW]}, "features", "many rows go under `inputs`"),
        ({"input": [NAMED]}, "input", "many rows go under `inputs`"),
        ({"input": None}, "input", "expected a row"),
        ({"input": "5.1,3.5"}, "input", "expected a row"),
        ({"input": []}, "input", "expected 4 values, got 0"),
        ({"inputs": [ROW, ROW[:3]]}, "inputs[1]", "expected 4 values, got 3"),
        ({"input": [*ROW, 1]}, "input", "expected 4 values, got 5"),
    ],
)
def test_a_body_of_the_wrong_form_is_refused_with_the_right_one(
    iris: Signature, body: object, path: str, message: str
) -> None:
    assert message in errors(iris, body)[path]


@pytest.mark.parametrize(("name", "message"), [({}, "absent"), ({"model_name": 3}, "expected a string, got 3")])
def test_a_short_body_without_a_model_name_is_refused(iris: Signature, name: dict[str, object], message: str) -> None:
    assert message in errors(iris, {**name, "features": ROW}, "short")["model_name"]


def test_a_duplicate_key_is_refused(iris: Signature) -> None:
    with pytest.raises(MalformedBody, match=r'"input" is there twice'):
        decode(iris, b'{"input": [1,2,3,4], "input": [1,2,3,4]}')


def test_more_rows_than_the_limit_are_too_large(iris: Signature) -> None:
    with pytest.raises(TooLarge, match="takes 2 in one request"):
        decode(iris, {"inputs": [ROW] * 3}, max_rows=2)


def test_as_many_rows_as_the_limit_are_taken(iris: Signature) -> None:
    assert decode(iris, {"inputs": [ROW] * 2}, max_rows=2).rows == 2


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ('"n/a"', 'expected a number, got "n/a"'),
        ('"5.1"', 'expected a number, got "5.1"'),
        ("[1]", "expected a number, got a list"),
        ("{}", "expected a number, got an object"),
        ("null", "takes no missing values"),
        ("9007199254740993", "lose digits as float64"),
        ("1" * 5000, "lose digits as float64"),
        ("1e400", "expected a number that float64 can hold"),
        ("-1e400", "expected a number that float64 can hold"),
    ],
)
def test_an_invalid_number_is_refused_with_its_path(iris: Signature, cell: str, message: str) -> None:
    assert message in errors(iris, f'{{"input": [1, 2, {cell}, 4]}}'.encode())["input[2]"]
    assert message in errors(iris, f'{{"inputs": [[1, 2, 3, 4], [1, 2, {cell}, 4]]}}'.encode())["inputs[1][2]"]
    named = f'{{"input": {{"sepal_length": 1, "sepal_width": 2, "petal_length": {cell}, "petal width (cm)": 4}}}}'
    assert message in errors(iris, named.encode())["input.petal_length"]


def test_a_column_name_that_is_not_a_word_is_quoted_in_the_path(iris: Signature) -> None:
    assert 'input["petal width (cm)"]' in errors(iris, {"input": {**NAMED, "petal width (cm)": "x"}})


@pytest.mark.parametrize("cell", [2, -1, 0.5, "true", "", [True]])
def test_a_boolean_is_true_false_zero_or_one(penguins: Signature, cell: object) -> None:
    assert "expected true, false, 0 or 1" in errors(penguins, {"input": ["a", 1, cell, "male"]})["input[2]"]


@pytest.mark.parametrize("cell", [1, True, 0.5, ["a"]])
def test_a_string_column_takes_only_strings(penguins: Signature, cell: object) -> None:
    assert "expected a string" in errors(penguins, {"input": [cell, 1, True, "male"]})["input[0]"]


@pytest.mark.parametrize("character", [MISSING_STRING, "\0"])
def test_a_string_with_a_marker_of_the_engine_is_refused(penguins: Signature, character: str) -> None:
    assert "may not contain" in errors(penguins, {"input": [f"a{character}b", 1, True, "male"]})["input[0]"]


def test_an_unknown_category_is_refused_where_the_model_refuses_it(penguins: Signature) -> None:
    message = errors(penguins, {"input": ["a", 1, True, "unknown"]})["input[3]"]
    assert message == 'the model was never shown "unknown"; it knows "female", "male"'


@pytest.mark.parametrize(("cell", "is_known"), [(1, True), (2.0, True), (1.5, False), (3, False)])
def test_categories_of_a_number_column_are_numbers(cell: float, is_known: bool) -> None:
    signature = signature_of(Column("size", "number", "int64", categories=(1, 2)))
    if is_known:
        assert numbers(decode(signature, {"input": [cell]})) == [[cell]]
    else:
        assert "never shown" in errors(signature, {"input": [cell]})["input[0]"]


@pytest.mark.parametrize(("cell", "fits"), [(-10.0, True), (10.0, True), (10.000001, False), (-11, False)])
def test_values_outside_the_range_of_a_column_are_refused(cell: float, fits: bool) -> None:
    signature = signature_of(Column("x", "number", "float32", minimum=-10.0, maximum=10.0))
    if fits:
        assert numbers(decode(signature, {"input": [cell]})) == [[cell]]
    else:
        assert "expected a number from -10.0 to 10.0" in errors(signature, {"input": [cell]})["input[0]"]


def test_missing_and_unknown_columns_are_named_with_the_nearest_name(iris: Signature) -> None:
    row = {"sepal_length": 1, "Sepal_Wdth": 2, "petal_length": 3, "petal width (cm)": 4}
    found = errors(iris, {"input": row})
    assert 'did you mean "sepal_width"?' in found["input.Sepal_Wdth"]
    assert "absent" in found["input.sepal_width"]


def test_a_name_unlike_any_column_gets_no_suggestion(iris: Signature) -> None:
    assert errors(iris, {"input": {**NAMED, "zzz": 1}})["input.zzz"] == "unknown column"


def test_all_wrong_cells_are_named_up_to_ten(iris: Signature) -> None:
    with pytest.raises(InvalidFeatures) as caught:
        decode(iris, {"inputs": [["a", 1, 2, "b"]] * 50})
    assert [path for path, _ in caught.value.errors] == [
        f"inputs[{row}][{column}]" for row in range(5) for column in (0, 3)
    ]


def test_wrong_rows_and_cells_are_listed_in_the_order_of_the_body(penguins: Signature) -> None:
    found = errors(penguins, {"inputs": [["a", "x", True, "male"], [1], 7, ["a", 1, 3, "male"]]})
    assert list(found) == ["inputs[0][1]", "inputs[1]", "inputs[2]", "inputs[3][2]"]


@pytest.mark.parametrize("row", ["1", "{}", "[]"])
def test_refusing_many_wrong_rows_of_a_wide_model_takes_little_memory(row: str) -> None:
    wide = signature_of(*(Column(f"x{place}", "number", "float64") for place in range(1000)))
    body = f'{{"inputs": [{",".join([row] * 100_000)}]}}'.encode()
    tracemalloc.start()
    with pytest.raises(InvalidFeatures):
        decode(wide, body, max_rows=100_000)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 50_000_000


@pytest.mark.parametrize("text", ["x" * 10_000, "\u202e" * 10_000, "\n" * 10_000])
def test_no_message_echoes_more_than_forty_characters(penguins: Signature, text: str) -> None:
    bodies = [{"input": ["a", text, True, "male"]}, {"input": ["a", 1, True, text]}, {text: 1}, {"input": {text: 1}}]
    for body in bodies:
        with pytest.raises(ServalError) as caught:
            decode(penguins, body)
        told = caught.value.message + str(caught.value.errors)
        assert not re.search(re.escape(text[:41]), told)
        assert "\u202e" not in caught.value.message
        assert "\n" not in caught.value.message


def test_a_named_row_is_refused_where_the_model_has_no_names(unnamed: Signature) -> None:
    for body in ({"input": {"x0": 1, "x1": 2, "x2": 3}}, {"inputs": [{"x0": 1, "x1": 2, "x2": 3}]}):
        assert "give it `columns`, with the upload or to its version" in next(iter(errors(unnamed, body).values()))


@pytest.mark.parametrize(
    "row",
    [
        {"x0": 1, "x1": 2, "x2": 3},
        {"x2": 3, "x0": 1, "x1": 2},
        {"feature 1": 1, "feature 3": 3, "feature 2": 2},
        {"2": 3, "0": 1, "1": 2},
    ],
    ids=["from 0", "in another order", "from 1", "numbers alone"],
)
def test_data_for_a_model_without_names_goes_by_the_numbers_at_the_ends_of_its_names(
    unnamed: Signature, row: dict[str, int]
) -> None:
    assert numbers(decode(unnamed, {"data": row})) == [[1, 2, 3]]


@pytest.mark.parametrize(
    "row",
    [
        {"z": 1, "a": 2, "m": 3},
        {"x0": 1, "x1": 2, "z": 3},
        {"x0": 1, "x1": 2, "x3": 3},
        {"x2": 1, "x3": 2, "x4": 3},
        {"x0": 1, "y1": 2, "x2": 3},
        {"x0": 1, "x1": 2, "x01": 3},
    ],
    ids=["no numbers", "one without", "a gap", "from 2", "two words", "one twice"],
)
def test_data_whose_names_have_no_order_is_refused_by_a_model_without_names(
    unnamed: Signature, row: dict[str, int]
) -> None:
    assert "consecutive numbers" in errors(unnamed, {"data": row})["data"]


def test_a_wrong_value_of_numbered_data_is_named(unnamed: Signature) -> None:
    assert list(errors(unnamed, {"data": {"x2": 1, "x0": "b", "x1": 3}})) == ["data.x0"]


def test_numbered_data_of_another_length_is_refused(unnamed: Signature) -> None:
    assert errors(unnamed, {"data": {"x0": 1}})["data"] == "expected 3 values, got 1"


@pytest.mark.parametrize(
    "body", [b'{"model_name": "iris", "features": [1]}', b'{"inputs": {"a": 1, "a": [2]}, "model_name": "iris"}']
)
def test_the_model_of_a_body_is_read_without_validating_its_rows(body: bytes) -> None:
    assert model_name(body) == "iris"


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"{", MalformedBody),
        (b"[" * 100_000, MalformedBody),
        (b'{"model_name": "\xff"}', MalformedBody),
        (b"[]", InvalidFeatures),
        (b"{}", InvalidFeatures),
        (b'{"model_name": 3}', InvalidFeatures),
    ],
)
def test_a_body_without_a_model_is_refused_with_the_reason(body: bytes, error: type[ServalError]) -> None:
    with pytest.raises(error):
        model_name(body)


@pytest.mark.parametrize(
    "row",
    [
        {"age": 41, "plan": "pro"},
        {"plan": "pro", "customer": None, "age": 41},
        {"customer": "C-1", "age": 41, "signed_up": "2026-01-01", "plan": "pro"},
        {"customer": [1, {"a": 2}], "age": 41, "signed_up": 1e300, "plan": "pro"},
        ["C-1", 41, True, "pro"],
    ],
)
def test_a_column_that_nothing_reads_takes_anything_or_nothing(partly_used: Signature, row: object) -> None:
    decoded = decode(partly_used, {"input": row})
    assert (numbers(decoded), decoded.strings) == ([[41.0]], ["pro"])


def test_a_row_by_position_has_a_place_for_every_column(partly_used: Signature) -> None:
    assert errors(partly_used, {"input": [41, "pro"]}) == {"input": "expected 4 values, got 2"}


def test_only_columns_that_the_model_reads_are_absent(partly_used: Signature) -> None:
    assert list(errors(partly_used, {"input": {"customer": "C-1", "age": 41}})) == ["input.plan"]


def test_an_unknown_column_is_refused_also_where_others_may_be_left_out(partly_used: Signature) -> None:
    wrong = errors(partly_used, {"input": {"age": 41, "plan": "pro", "custmer": 1}})
    assert wrong == {"input.custmer": 'unknown column; did you mean "customer"?'}


def test_booleans_are_numbers_in_number_columns(iris: Signature) -> None:
    assert numbers(decode(iris, {"inputs": [[True, False, 1, 0.5]]})) == [[1.0, 0.0, 1.0, 0.5]]
