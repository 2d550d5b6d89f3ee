"""Tables that are sent in several requests."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import httpx2
import pytest

import serval_client as serval
from serval_client import tables
from serval_client.client import Predictor
from serval_client.operations import Call, Patience, Steps
from serval_client.tables import MAX_BYTES, Table, records_of


class Server:
    """Answers each row with its first value, and takes so many rows in one request."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.calls: list[Call] = []

    def run(self, steps: Steps[Any]) -> Any:
        outcome: Any = None
        while True:
            try:
                call = steps.send(outcome)
            except StopIteration as end:
                return end.value
            assert isinstance(call, Call)
            self.calls.append(call)
            outcome = self.answer(call)

    def answer(self, call: Call) -> httpx2.Response:
        content = call.content or b""
        if call.content_type == "text/csv":
            rows = list(csv.reader(io.StringIO(content.decode(), newline="")))[1:]
            wrong = [f"line {number}, a" for number, row in enumerate(rows, 2) if row == ["wrong"]]
        else:
            rows = json.loads(content)["inputs"]
            wrong = [f"inputs[{number}][0]" for number, row in enumerate(rows) if row == ["wrong"]]
        if len(rows) > self.limit:
            return self.response(413, {"status": 413, "detail": f"more than {self.limit} rows", "code": "too_large"})
        if wrong:
            detail = f"{wrong[0]}: expected a number (and 1 more, see `errors`)"
            errors = [{"path": path, "message": "expected a number"} for path in wrong]
            return self.response(400, {"status": 400, "detail": detail, "errors": errors})
        body = {"predictions": [row[0] for row in rows], "probabilities": [[1.0]] * len(rows), "classes": [0]}
        return self.response(200, body | {"model": "m", "model_version": 7})

    def response(self, status: int, body: dict[str, Any]) -> httpx2.Response:
        return httpx2.Response(status, json=body, request=httpx2.Request("POST", "http://host/x"))


def predictor(limit: int = 10_000) -> tuple[Any, Server]:
    server = Server(limit)
    return Predictor(server, Patience()), server  # type: ignore[type-var]


def test_the_answers_of_all_parts_are_one_in_the_order_of_the_rows_and_of_one_version() -> None:
    client, server = predictor()
    answer = client.predict("m", [[number] for number in range(25_000)])
    assert answer.predictions == list(range(25_000))
    assert (len(answer.probabilities), answer.version) == (25_000, 7)
    assert [call.query.get("version") for call in server.calls] == [None, "7", "7"]


@pytest.mark.parametrize("limit", [1, 7, 1000])
def test_a_server_that_takes_less_gets_less(limit: int) -> None:
    client, server = predictor(limit)
    assert client.predict("m", [[number] for number in range(100)])[:] == list(range(100))
    assert len(server.calls) >= 100 // limit


def test_a_row_that_is_too_large_alone_is_an_error_and_no_loop() -> None:
    client, _ = predictor(0)
    with pytest.raises(serval.TooLarge, match="more than 0 rows"):
        client.predict("m", [[1], [2]])


def test_no_body_is_larger_than_its_limit() -> None:
    rows = [["x" * (MAX_BYTES // 3)] for _ in range(7)]
    client, server = predictor()
    assert client.predict("m", rows)[:] == [row[0] for row in rows]
    assert all(len(call.content or b"") <= MAX_BYTES for call in server.calls)


def test_a_csv_file_is_split_between_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "MAX_BYTES", 40)
    values = ["1", 'two\r\n"lines"\nof', "3,5", "", "end"] * 20
    text = io.StringIO(newline="")
    csv.writer(text).writerows([["a", "b"], *[[value, "x"] for value in values]])
    (tmp_path / "rows.csv").write_bytes(b"\xef\xbb\xbf" + text.getvalue().encode())
    client, server = predictor()
    assert client.predict("m", tmp_path / "rows.csv")[:] == values
    assert len(server.calls) > 20


def test_a_wrong_row_is_counted_in_the_whole_table(tmp_path: Path) -> None:
    client, _ = predictor(10)
    rows = [["1"]] * 32 + [["wrong"], ["1"], ["wrong"]]
    with pytest.raises(serval.BadRequest) as caught:
        client.predict("m", rows)
    assert str(caught.value) == "inputs[32][0]: expected a number; inputs[34][0]: expected a number"
    (tmp_path / "rows.csv").write_text("a\n" + "".join(f"{row[0]}\n" for row in rows))
    with pytest.raises(serval.BadRequest, match=r"^line 34, a: .*; line 36, a: "):
        client.predict("m", tmp_path / "rows.csv")


def test_blank_lines_stay_with_the_record_before() -> None:
    assert records_of(b'a\n1\n\n"x\n\ny"\n\r\n') == [b"a\n", b"1\n\n", b'"x\n\ny"\n\r\n']
    assert Table.of_csv(b"a,b").part(0, 10).content == b"a,b"
