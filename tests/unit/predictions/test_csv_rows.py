"""CSV bodies of a prediction."""

import math

import numpy as np
import pytest

from serval.conversion.signature import MISSING_STRING, Column, Signature
from serval.errors import InvalidFeatures, MalformedBody, TooLarge, UnsupportedContent
from serval.predictions.csv_rows import NA_WORDS, decode_csv, read_dialect
from serval.predictions.values import Decoded
from support.signatures import signature_of

HEADER = "island,bill_length,is_adult,sex\n"


def decode(signature: Signature, body: str | bytes, max_rows: int = 100, **parameters: str) -> Decoded:
    return decode_csv(
        body if isinstance(body, bytes) else body.encode(),
        signature,
        dialect=read_dialect(parameters),
        max_rows=max_rows,
    )


def numbers(decoded: Decoded) -> list[list[float]]:
    return np.frombuffer(decoded.numbers).reshape(decoded.rows, -1).tolist()


def errors(signature: Signature, body: str, **parameters: str) -> list[tuple[str, str]]:
    with pytest.raises(InvalidFeatures) as caught:
        decode(signature, body, **parameters)
    return caught.value.errors


def message_at(signature: Signature, body: str, place: str) -> str:
    return dict(errors(signature, body))[place]


def test_csv_is_a_list_of_rows_in_any_column_order(penguins: Signature) -> None:
    decoded = decode(penguins, "sex,is_adult,island,bill_length\nmale,true,Biscoe,39.1\nfemale,0,Dream,4e1\n")
    assert (decoded.is_list, decoded.rows, numbers(decoded)) == (True, 2, [[39.1, 1], [40, 0]])
    assert decoded.strings == ["Biscoe", "male", "Dream", "female"]


@pytest.mark.parametrize("ending", ["", "\n", "\r\n", "\n\n\n", "\r\n\r\n"])
def test_a_newline_at_the_end_is_optional(unnamed: Signature, ending: str) -> None:
    assert numbers(decode(unnamed, "x0,x1,x2\n1,2,3" + ending)) == [[1, 2, 3]]


def test_lines_end_as_rfc_4180_says(unnamed: Signature) -> None:
    assert numbers(decode(unnamed, "x2,x1,x0\r\n1,2,3\r\n4,5,6\r\n")) == [[3, 2, 1], [6, 5, 4]]


def test_a_byte_order_mark_is_no_part_of_the_header(unnamed: Signature) -> None:
    assert decode(unnamed, b"\xef\xbb\xbfx0,x1,x2\n1,2,3").rows == 1


def test_quoted_fields_hold_delimiters_quotes_and_newlines(penguins: Signature) -> None:
    decoded = decode(penguins, HEADER + '"a,""b""\r\nc",1,true,male\n')
    assert decoded.strings[0] == 'a,"b"\r\nc'


def test_without_a_header_columns_are_in_the_order_of_the_model(unnamed: Signature) -> None:
    assert numbers(decode(unnamed, "1,2,3\n4,5,6\n", header="absent")) == [[1, 2, 3], [4, 5, 6]]


@pytest.mark.parametrize(("delimiter", "character"), [(";", ";"), ("|", "|"), ("tab", "\t"), ("\t", "\t")])
def test_the_delimiter_can_be_chosen(unnamed: Signature, delimiter: str, character: str) -> None:
    assert numbers(decode(unnamed, character.join("123"), header="absent", delimiter=delimiter)) == [[1, 2, 3]]


@pytest.mark.parametrize(
    "parameters",
    [
        {"delimiter": ",,"},
        {"delimiter": ""},
        {"delimiter": '"'},
        {"header": "no"},
        {"charset": "latin-1"},
        {"quote": "'"},
    ],
)
def test_unknown_parameters_of_the_content_type_are_unsupported(unnamed: Signature, parameters: dict[str, str]) -> None:
    with pytest.raises(UnsupportedContent, match=next(iter(parameters))):
        decode(unnamed, "x0,x1,x2\n1,2,3", **parameters)


def test_an_empty_field_is_missing_in_every_kind_of_column() -> None:
    columns = (Column("n", "number", "float64", missing="nan"), Column("b", "boolean", "object", missing="none"))
    signature = signature_of(*columns, Column("s", "string", "object", missing="none"))
    decoded = decode(signature, 'n,b,s\n,,\n"","",""\n')
    assert np.isnan(numbers(decoded)).all()
    assert decoded.strings == [MISSING_STRING] * 2


@pytest.mark.parametrize("word", sorted(NA_WORDS))
def test_words_of_pandas_for_missing_count_in_number_columns_only(penguins: Signature, word: str) -> None:
    decoded = decode(penguins, HEADER + f"{word},{word},true,male")
    assert math.isnan(numbers(decoded)[0][0])
    assert decoded.strings[0] == word


def test_missing_is_refused_where_the_model_takes_none(penguins: Signature) -> None:
    assert "takes no missing values" in message_at(penguins, HEADER + "a,1,,male", "line 2, is_adult")


@pytest.mark.parametrize(
    ("field", "value"), [("5", 5), (" 5.0 ", 5), ("+5e0", 5), ("05", 5), (".5", 0.5), ("5.", 5), ("-0", -0.0)]
)
def test_numbers_are_read_as_pandas_reads_them(unnamed: Signature, field: str, value: float) -> None:
    read = numbers(decode(unnamed, f"{field},1,1", header="absent"))[0][0]
    assert (read, math.copysign(1, read)) == (value, math.copysign(1, value))


@pytest.mark.parametrize(
    "field", ["x", "1_000", "inf", "-Infinity", "0x10", "1e", "٣", "1 2", "9007199254740993", "1e400", "1,5"]
)
def test_an_invalid_number_is_refused_with_line_and_column(unnamed: Signature, field: str) -> None:
    assert [place for place, _ in errors(unnamed, f'x0,x1,x2\n1,2,3\n1,"{field}",3')] == ["line 3, x1"]


@pytest.mark.parametrize(("field", "value"), [("true", 1), ("True", 1), ("TRUE", 1), ("1", 1), ("false", 0), ("0", 0)])
def test_booleans_are_words_or_digits(penguins: Signature, field: str, value: int) -> None:
    assert numbers(decode(penguins, HEADER + f"a,1,{field},male"))[0][1] == value


@pytest.mark.parametrize("field", ["yes", "2", "tRuE", "NA"])
def test_other_words_are_refused_as_booleans(penguins: Signature, field: str) -> None:
    assert "expected true, false, 0 or 1" in message_at(penguins, HEADER + f"a,1,{field},male", "line 2, is_adult")


def test_a_ragged_row_is_named_by_the_line_it_starts_on(penguins: Signature) -> None:
    body = HEADER + '"two\nlines",1,true,male\na,1,true\na,1,true,male,x\n'
    assert errors(penguins, body) == [("line 4", "expected 4 values, got 3"), ("line 5", "expected 4 values, got 5")]


def test_an_empty_line_between_rows_is_ragged(unnamed: Signature) -> None:
    assert "empty line" in message_at(unnamed, "x0,x1,x2\n1,2,3\n\n4,5,6\n", "line 3")


def test_one_empty_value_is_written_as_two_quotes() -> None:
    signature = signature_of(Column("s", "string", "object", missing="nan"))
    assert decode(signature, 's\na\n""\n').strings == ["a", MISSING_STRING]


def test_duplicate_unknown_and_absent_columns_are_named_at_the_header(penguins: Signature) -> None:
    found = errors(penguins, "island,island,bil_length,sex\na,a,1,male\n")
    assert {place for place, _ in found} == {"line 1"}
    told = " ".join(message for _, message in found)
    assert all(
        part in told for part in ('"island" is there twice', 'did you mean "bill_length"?', '"is_adult" is absent')
    )


def test_a_body_without_a_header_is_refused_with_the_parameter_for_it(penguins: Signature) -> None:
    assert "header=absent" in errors(penguins, "a,1,true,male\n")[0][1]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "empty"),
        (b"\xef\xbb\xbf\r\n", "empty"),
        (b"x0,x1,x2\n1,2,\xff", "line 2 cannot be decoded"),
        (b'x0,x1,x2\n1,2,"3', "line 2: not CSV"),
        (b'x0,x1,x2\n1,2,3\n"1"x,2,3', "line 3: not CSV"),
        (b"x0,x1,x2\n1,2," + b"3" * 200_000, "line 2: not CSV: field larger"),
    ],
)
def test_malformed_csv_is_refused_with_its_line(unnamed: Signature, body: bytes, reason: str) -> None:
    with pytest.raises(MalformedBody, match=reason):
        decode(unnamed, body)


def test_a_header_without_rows_is_refused(unnamed: Signature) -> None:
    assert errors(unnamed, "x0,x1,x2\n")[0][1] == "there is no row after the header line"


def test_more_rows_than_the_limit_are_too_large(unnamed: Signature) -> None:
    assert decode(unnamed, "1,2,3\n" * 5, header="absent", max_rows=5).rows == 5
    with pytest.raises(TooLarge, match="more than the 4 rows"):
        decode(unnamed, "1,2,3\n" * 5, header="absent", max_rows=4)


@pytest.mark.parametrize(
    "body", ["age,plan\n41,pro\n", "plan,customer,age\npro,,41\n", "customer,age,signed_up,plan\nC-1,41,now,pro\n"]
)
def test_a_column_that_nothing_reads_may_hold_anything_or_be_left_out(partly_used: Signature, body: str) -> None:
    decoded = decode(partly_used, body)
    assert (numbers(decoded), decoded.strings) == ([[41.0]], ["pro"])


def test_lines_without_a_header_have_a_field_for_every_column(partly_used: Signature) -> None:
    assert decode(partly_used, "C-1,41,now,pro\n", header="absent").strings == ["pro"]
    assert message_at(partly_used, "plan,age\npro,41,1\n", "line 2") == "expected 2 values, got 3"


@pytest.mark.parametrize(("word", "number"), [("True", 1.0), ("true", 1.0), ("FALSE", 0.0), ("False", 0.0)])
def test_words_for_booleans_are_numbers_in_number_columns(unnamed: Signature, word: str, number: float) -> None:
    assert numbers(decode(unnamed, f"x0,x1,x2\n1,{word},3")) == [[1, number, 3]]
