"""Millions of mutated requests: Rust reads nothing in them that Python reads otherwise."""

import json
import random
import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest

from serval.auth.credentials import read_credential
from serval.data_plane.request import CsvDialect
from serval.errors import NotAuthenticated
from serval.predictions.request import is_no_cache
from support.body_readers import NUMBERS, STRINGS, Readers
from support.fronts import Fronted, fronted
from support.malformed import LAST
from support.raw_http import Reply, exchanged, replies

BODIES = [
    b'{"input": [1.5, 2, 3]}',
    b'{"inputs": [[1, -0.0, 2], [1e-300, null, 2.5E+3]]}',
    b'{"features": {"a": 1, "b": null, "c d": 2}}',
    b'{"data": [[1,2,3],[4,5,6],[7,8,9],[1,2,3],[4,5,6]]}',
    b'{"inputs":[{"a":1,"b":2,"c d":0.1},{"c d":1,"b":2,"a":0.3}]}',
    b'{"input": ["1", true, "\\u0061\\ud800"]}',
]
BODIES_OF_STRINGS = [
    b'{"input": [1, 2, "any", 3, true, "x", 2.5, "", "basic", true]}',
    b'{"inputs": [[1, null, 5, 3, 0, null, 0, "\\ud83e\\udda1\\n", "", 1], [1,2,3,4,1,"a","1","b","basic",1]]}',
    '{"data": {"a":1,"b":2,"c d":3,"f":1,"s":"é","n":1,"t \\"\\u00e9\\"":"日本","u":"🦡","v":true}}'.encode(),
    b'{"features":{"v":1,"u":"\\u00e9\\n","t \\"\xc3\xa9\\"":"\\\\","n":0,"s":null,"f":0,"c d":1,"b":1,"a":1,"e":""}}',
]
TABLES = [
    b'a,b,c d,f,s,n,t "\xc3\xa9",u,v\n1,2,3,1,x,1,y,basic,1\n',
    (
        b'\xef\xbb\xbfu;v;a;b;c d;f;s;n;"t ""\xc3\xa9""";e\r\nbasic;TRUE;1.5;;2;;;2.5;"a""b";any\r\n'
        b'"basic";1; -0 ;NA;1e3;0;"";0;z;\r\n'
    ),
    b'1\t2\t\t3\ttrue\t"a\tb"\t1\t"\n"\tbasic\ttrue\n1\tNaN\tx\t+3.\t0\t\t0\tq\tbasic\t1',
    'a,b,c d,f,s,n,u,v,"t ""é"""\n1,2,3,1,x,1,🦡,1,日本\n4,5,6,0,,2.5,🦡,true,""\n'.encode(),
]
DIALECTS = [CsvDialect(True, ","), CsvDialect(True, ";"), CsvDialect(False, "\t"), CsvDialect(True, ",")]
CSV_PIECES = [
    *b',;\t"\n\r -+.eE01',
    b'""',
    b"\r\n",
    b"NA",
    b"inf",
    b"1_0",
    b"9007199254740993",
    b"\xc2\xa0",
    b"\x0b",
    b"\x1a",
    b"\0",
    b"\xef\xbb\xbf",
    b"\xff",
]
PIECES = [
    *b'{}[],:"\\-+.eE0 \n',
    b"null",
    b"true",
    b"NaN",
    b"1e999",
    b"9007199254740993",
    b"1e-400",
    b'"input":',
    b"\\u0061",
    b"\\ud83e",
    b"\\u0000",
    b"\\u001a",
    b"\\",
    b"\xf0\x9f\xa6\xa1",
    b"\xef\xbb\xbf",
    b"\xff",
]


def mutated(text: bytes, pieces: list[Any], rng: random.Random) -> bytes:
    """A text with a few bytes changed, doubled or lost."""
    for _ in range(rng.randrange(4)):
        place, other = sorted(rng.choices(range(len(text) + 1), k=2))
        piece = rng.choice(pieces)
        middle = rng.choice(
            [b"", text[place:other] * 2, bytes([piece]) if isinstance(piece, int) else piece, text[place:other]]
        )
        text = text[:place] + middle + text[place + rng.randrange(2) if rng.random() < 0.7 else other :]
    return text


@pytest.mark.slow
def test_half_a_million_mutated_bodies_are_read_alike_by_rust_and_python() -> None:
    rng, readers = random.Random(81), Readers(NUMBERS)
    for _ in range(500_000):
        readers.assert_agree(mutated(rng.choice(BODIES), PIECES, rng))


@pytest.mark.slow
def test_half_a_million_mutated_bodies_of_strings_are_read_alike_by_rust_and_python() -> None:
    rng, readers = random.Random(82), Readers(STRINGS)
    for _ in range(500_000):
        readers.assert_agree(mutated(rng.choice(BODIES_OF_STRINGS), PIECES, rng))


@pytest.mark.slow
def test_half_a_million_mutated_tables_are_read_alike_by_rust_and_python() -> None:
    rng, readers = random.Random(83), Readers(STRINGS)
    for _ in range(500_000):
        table, dialect = rng.choice(list(zip(TABLES, DIALECTS, strict=True)))
        readers.assert_agree(mutated(table, CSV_PIECES, rng), dialect)


TARGETS = [
    b"/predict",
    b"/api/v1/predict/iris",
    b"/api/predict/ada/iris",
    b"/api/v1/predict/iris?version=1&outputs=probabilities",
]
LINES = [
    b"X-API-Key: KEY",
    b"Authorization: Bearer KEY",
    b"Content-Type: application/json",
    b"Cache-Control: max-age=0, no-cache",
    b"Connection: keep-alive",
    b"X-Request-Id: abc",
    b"Accept: */*",
    b"Content-Encoding: identity",
    b"Cookie: a",
    b"User-Agent: curl/8",
]
WORDS = [
    *b" ,;=?&%/.-_\t\xa0\x85",
    b"%2e",
    b"..",
    b"//",
    b"%69",
    b"bearer",
    b"version=1",
    b"alias=a",
    b"no-cache",
    b"; charset=utf-8",
    b"text/csv",
]
BODY = {False: b'{"input": [1, 2]}', True: b'{"model_name": "iris", "input": [1, 2]}'}


def request(key: str, rng: random.Random) -> tuple[bytes, list[bytes]]:
    """(target, lines) of a prediction that is odd in few places; its framing is always right."""
    target = rng.choice(TARGETS)
    lines = [
        line
        for line, odds in zip(LINES, [0.9, 0.1, 0.7, 0.3, 0.2, 0.2, 0.2, 0.05, 0.05, 0.2], strict=True)
        if rng.random() < odds
    ]
    lines = [line.replace(b"KEY", key.encode()) for line in lines]
    lines = [mutated(line, WORDS, rng) if rng.random() < 0.1 else line for line in lines]
    if rng.random() < 0.3:
        target = mutated(target, WORDS, rng)
    return target, [
        b"Host: serval",
        *(line for line in lines if not line.lower().startswith((b"connection: close", b"host"))),
    ]


def assert_python_reads_it_alike(front: Fronted, target: bytes, lines: list[bytes], reply: Reply) -> bool:
    """Whether the front answered by itself; what it then said is what the routes' own rules say."""
    if "x-from" in reply.headers or reply.status not in {200, 401}:
        return False
    split = (line.split(b":", 1) for line in lines)
    headers = [(name.lower(), value.strip(b" \t")) for name, value in split]
    given = {name.decode(): value.decode("latin-1") for name, value in headers}
    if reply.status == 401:
        with pytest.raises(NotAuthenticated) as refused:
            read_credential(headers)
        assert refused.value.message == json.loads(reply.body)["detail"]
        return True
    assert read_credential(headers).text == front.key
    path, _, query = target.partition(b"#")[0].decode("latin-1").partition("?")
    assert re.fullmatch(r"/predict|/api/(v1/)?predict/(iris|ada/iris|mdl_1)", path)
    parameters = parse_qsl(query, keep_blank_values=True)
    assert len(dict(parameters)) == len(parameters)
    assert dict(parameters).items() <= {"version": "1", "outputs": "probabilities"}.items()
    assert "content-encoding" not in given
    assert given.get("content-type", "application/json").partition(";")[0].lower() == "application/json"
    assert (reply.headers["x-cache"] == "bypass") == is_no_cache(given.get("cache-control", ""))
    return True


@pytest.mark.slow
def test_the_front_answers_mutated_requests_as_python_would(tmp_path: Path) -> None:
    rng, answered = random.Random(82), 0
    with fronted(tmp_path) as front:
        for _ in range(3000):
            batch = [request(front.key, rng) for _ in range(100)]
            while batch:
                # A request that is not even HTTP ends the connection; those behind it go on another one.
                answers = replies(exchanged(front.port, b"".join(as_sent(*asked) for asked in batch) + LAST))
                for (target, lines), reply in zip(batch, answers, strict=False):
                    answered += assert_python_reads_it_alike(front, target, lines, reply)
                batch = batch[max(len(answers), 1) :]
    assert answered > 50_000


def as_sent(target: bytes, lines: list[bytes]) -> bytes:
    body = BODY[target.startswith(b"/predict")]
    return b"\r\n".join([b"POST %b HTTP/1.1" % target, *lines, b"Content-Length: %d" % len(body), b"", body])
