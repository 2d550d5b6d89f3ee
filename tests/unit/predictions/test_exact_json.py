"""The grammar of JSON bodies."""

import json
import math
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serval.errors import MalformedBody
from serval.predictions.exact_json import InexactInteger, parse, shown

documents = st.recursive(
    st.none()
    | st.booleans()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.integers(-(2**53), 2**53)
    | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=20,
)


def _integer(digits: str) -> float | str:
    return float(digits) if abs(int(digits)) <= 2**53 else digits


@given(documents)
def test_a_document_reads_as_the_standard_library_reads_it(document: object) -> None:
    assert parse(json.dumps(document).encode()) == json.loads(json.dumps(document))


@given(st.binary(max_size=60) | st.text('{}[]",:0123456789.eE+-truefalsn\\ud8', max_size=60).map(str.encode))
def test_any_bytes_are_read_as_the_standard_library_reads_them_or_refused(body: bytes) -> None:
    with suppress(MalformedBody):
        assert str(parse(body)) == str(json.loads(body, parse_int=_integer))


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_keep_every_bit(number: float) -> None:
    assert math.copysign(1, parse(repr(number).encode())) == math.copysign(1, number)
    assert parse(repr(number).encode()) == number


@pytest.mark.parametrize("spelling", ["1", "1.0", "1e0", "10e-1", "0.1E+1"])
def test_spellings_of_a_number_are_equal(spelling: str) -> None:
    assert parse(spelling.encode()) == 1.0
    assert type(parse(spelling.encode())) is float


@pytest.mark.parametrize("spelling", ["-0", "-0.0", "-0e5"])
def test_negative_zero_keeps_its_sign(spelling: str) -> None:
    assert math.copysign(1, parse(spelling.encode())) == -1


@pytest.mark.parametrize("digits", ["9007199254740992", "-9007199254740992"])
def test_integers_up_to_two_to_the_53_are_floats(digits: str) -> None:
    assert parse(digits.encode()) == float(digits)


@pytest.mark.parametrize("digits", ["9007199254740993", "-9007199254740993", "1" * 5000])
def test_integers_beyond_two_to_the_53_keep_their_digits(digits: str) -> None:
    assert parse(digits.encode()) == InexactInteger(digits)


@pytest.mark.parametrize(
    "body",
    [b"[" * 100_000, b"[" * 100_000 + b"]" * 100_000, b'{"a":' * 100_000, b'{"a":[' * 50_000 + b"]}" * 50_000],
    ids=["open lists", "lists", "open objects", "both"],
)
def test_deep_nesting_is_refused(body: bytes) -> None:
    with pytest.raises(MalformedBody, match=r"nested too deeply|not JSON"):
        parse(body)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "empty"),
        (b"\xef\xbb\xbf{}", "byte order mark"),
        (b'"\xff"', "not UTF-8"),
        (b'"\xed\xa0\x80"', "not UTF-8"),
        (b'"\\ud800"', "surrogate"),
        (b'{"\\uDC00": 1}', "surrogate"),
        (b'{"a": 1, "a": 1}', 'key "a" is there twice'),
        (b'{"x": {"a": 1, "\\u0061": 1}}', 'key "a" is there twice'),
        (b"NaN", "NaN is not JSON"),
        (b"[-Infinity]", "-Infinity is not JSON"),
        (b"{} x", "Extra data"),
        (b"[1,]", "not JSON"),
        (b"01", "not JSON"),
        (b"+1", "not JSON"),
        (b".5", "not JSON"),
        (b"5.", "not JSON"),
        (b"'a'", "not JSON"),
        (b'"a\nb"', "not JSON"),
        (b"\x0c1", "not JSON"),
        (b'{"a": 1} // why', "not JSON"),
    ],
)
def test_invalid_json_is_refused_with_the_reason(body: bytes, reason: str) -> None:
    with pytest.raises(MalformedBody, match=reason):
        parse(body)


def test_a_duplicate_is_found_among_very_many_keys() -> None:
    members = ",".join(f'"k{place}":1' for place in range(200_000))
    with pytest.raises(MalformedBody, match='"k199999" is there twice'):
        parse(f'{{{members},"k199999":2}}'.encode())


def test_a_surrogate_pair_is_one_character() -> None:
    assert parse(b'"\\ud83d\\ude00"') == "😀"


def test_a_syntax_error_is_reported_with_its_position() -> None:
    with pytest.raises(MalformedBody, match="line 2, column 4"):
        parse(b'{"a":\n 1 2}')


@given(documents)
def test_a_message_quotes_at_most_forty_characters(document: object) -> None:
    assert (
        len(shown(document if isinstance(document, dict | list) else parse(json.dumps(document).encode())))
        <= 40 * 6 + 2
    )
    assert len(shown("é" * 1000)) == 42
