"""Requests that nobody means well, byte for byte, and what the public port says to each."""

from dataclasses import dataclass

ROW = b'{"input": [5.1, 3.5, 1.4, 0.2]}'
SHORT_ROW = b'{"model_name": "iris", "input": [5.1, 3.5, 1.4, 0.2]}'
SMUGGLED = b"GET /info HTTP/1.1\r\nHost: x\r\nX-Request-Id: smuggled\r\n\r\n"
LAST = b"GET /health/live HTTP/1.1\r\nHost: x\r\nX-Request-Id: last\r\nConnection: close\r\n\r\n"
"""Sent after each of them: who answers it as `last` has understood where the one before ends."""
CHUNKED_ROW = b"%x\r\n%b\r\n0\r\n\r\n" % (len(ROW), ROW)


@dataclass(frozen=True)
class Case:
    """A request, and the statuses that may answer it and what follows it; `()`: the server hangs up."""

    name: str
    request: bytes
    statuses: tuple[int, ...]


def predict(
    *lines: bytes,
    body: bytes = ROW,
    target: bytes = b"/api/v1/predict/iris",
    method: bytes = b"POST",
    version: bytes = b"1.1",
) -> bytes:
    """A prediction with the id `first` and these lines in its head; `KEY` stands for the key."""
    head = [b"%b %b HTTP/%b" % (method, target, version), b"X-Request-Id: first", *lines, b"", b""]
    return b"\r\n".join(head) + body


HOST, KEY = b"Host: x", b"X-API-Key: KEY"
LENGTH = b"Content-Length: %d" % len(ROW)
CHUNKED = b"Transfer-Encoding: chunked"
JSON = b"Content-Type: application/json"


def plain(
    *lines: bytes,
    body: bytes = ROW,
    target: bytes = b"/api/v1/predict/iris",
    method: bytes = b"POST",
    version: bytes = b"1.1",
) -> bytes:
    """A prediction with everything that it needs, and these lines."""
    return predict(
        HOST, KEY, b"Content-Length: %d" % len(body), *lines, body=body, target=target, method=method, version=version
    )


def chunked(body: bytes, *lines: bytes) -> bytes:
    return predict(HOST, KEY, CHUNKED, *lines, body=body)


def get(target: bytes, *lines: bytes, method: bytes = b"GET", version: bytes = b"1.1") -> bytes:
    return b"\r\n".join([b"%b %b HTTP/%b" % (method, target, version), b"X-Request-Id: first", *lines, b"", b""])


LENGTHS = [
    Case("plain", plain(), (200, 200)),
    Case("two lengths that differ", predict(HOST, KEY, LENGTH, b"Content-Length: 5", body=ROW), (400,)),
    Case("two lengths that agree", predict(HOST, KEY, LENGTH, LENGTH), (200, 200)),
    Case("a list of lengths", predict(HOST, KEY, b"Content-Length: 31, 31"), (400,)),
    Case("a length with a sign", predict(HOST, KEY, b"Content-Length: +31"), (400,)),
    Case("a negative length", predict(HOST, KEY, b"Content-Length: -1", body=b""), (400,)),
    Case("a length in hexadecimal", predict(HOST, KEY, b"Content-Length: 0x1f"), (400,)),
    Case("a length with zeros before it", predict(HOST, KEY, b"Content-Length: 00031"), (200, 200)),
    Case("a length beyond 64 bits", predict(HOST, KEY, b"Content-Length: 36893488147419103263"), (400,)),
    Case("a length near 64 bits", predict(HOST, KEY, b"Content-Length: 18446744073709551615"), (431,)),
    Case("an empty length", predict(HOST, KEY, b"Content-Length: "), (400,)),
    Case("no length", predict(HOST, KEY, body=b""), (400, 200)),
    Case("no length, and a body that is a request", predict(HOST, KEY, body=b"") + SMUGGLED, (400, 200, 200)),
    Case(
        "a length and then chunks",
        predict(HOST, KEY, b"Content-Length: 4", CHUNKED, body=CHUNKED_ROW + SMUGGLED),
        (200,),
    ),
    Case(
        "chunks and then a length",
        predict(HOST, KEY, CHUNKED, b"Content-Length: 4", body=CHUNKED_ROW + SMUGGLED),
        (200,),
    ),
    Case(
        "a length of all, and chunks that end before",
        predict(HOST, KEY, b"Content-Length: 5", CHUNKED, body=b"0\r\n\r\n" + SMUGGLED),
        (400,),
    ),
    Case("a shorter length than the body", predict(HOST, KEY, b"Content-Length: 4"), (400, 400)),
    Case("GET with a length", get(b"/health/live", HOST, b"Content-Length: 4") + b"abcd", (200, 200)),
    Case(
        "GET with a request as its body",
        get(b"/info", HOST, b"Content-Length: %d" % len(SMUGGLED)) + SMUGGLED,
        (200, 200),
    ),
]

CHUNKS = [
    Case("chunks", chunked(CHUNKED_ROW), (200, 200)),
    Case("chunks in two", chunked(b"5\r\n" + ROW[:5] + b"\r\n1A\r\n" + ROW[5:] + b"\r\n0\r\n\r\n"), (200, 200)),
    Case("chunks with an extension", chunked(b'1f;name="v;alue"\r\n' + ROW + b"\r\n0;last\r\n\r\n"), (200, 200)),
    Case(
        "chunks with a trailer",
        chunked(b"1f\r\n" + ROW + b"\r\n0\r\nX-API-Key: other\r\nContent-Length: 5\r\n\r\n"),
        (200, 200),
    ),
    Case("a trailer announced", chunked(b"1f\r\n" + ROW + b"\r\n0\r\nX-Sum: 1\r\n\r\n", b"Trailer: X-Sum"), (200, 200)),
    Case("a chunk whose size is no number", chunked(b"ZZ\r\n" + ROW + b"\r\n0\r\n\r\n"), ()),
    Case("a chunk whose size is negative", chunked(b"-1f\r\n" + ROW + b"\r\n0\r\n\r\n"), ()),
    Case("a chunk whose size has a prefix", chunked(b"0x1f\r\n" + ROW + b"\r\n0\r\n\r\n"), ()),
    Case("a chunk whose size is beyond 64 bits", chunked(b"1000000000000001f\r\n" + ROW + b"\r\n0\r\n\r\n"), ()),
    Case("a chunk whose size has zeros before it", chunked(b"0000001f\r\n" + ROW + b"\r\n0\r\n\r\n"), (200, 200)),
    Case("a chunk whose size is followed by a space", chunked(b"1f \r\n" + ROW + b"\r\n0\r\n\r\n"), (200, 200)),
    Case("a chunk whose size is empty", chunked(b"\r\n" + ROW + b"\r\n0\r\n\r\n"), ()),
    Case("a chunk whose line ends in a bare LF", chunked(b"1f\n" + ROW + b"\r\n0\r\n\r\n"), ()),
    Case("a chunk whose extension holds a bare LF", chunked(b"1f;a\nb\r\n" + ROW + b"\r\n0\r\n\r\n"), ()),
    Case("a chunk that is longer than its size", chunked(b"5\r\n" + ROW + b"\r\n0\r\n\r\n"), ()),
    Case("a chunk without its end", chunked(b"1f\r\n" + ROW + b"0\r\n\r\n"), ()),
    Case("chunks ended by bare LFs", chunked(b"1f\r\n" + ROW + b"\n0\n\n"), ()),
    Case(
        "chunks within chunks", predict(HOST, KEY, b"Transfer-Encoding: chunked, chunked", body=CHUNKED_ROW), (200, 200)
    ),
    Case("gzip and chunks", predict(HOST, KEY, b"Transfer-Encoding: gzip, chunked", body=CHUNKED_ROW), (200, 200)),
    Case("chunks and then gzip", predict(HOST, KEY, b"Transfer-Encoding: chunked, gzip", body=CHUNKED_ROW), (400,)),
    Case("identity", predict(HOST, KEY, LENGTH, b"Transfer-Encoding: identity"), (400,)),
    Case(
        "identity, then chunks",
        predict(HOST, KEY, b"Transfer-Encoding: identity", CHUNKED, body=CHUNKED_ROW),
        (200, 200),
    ),
    Case("two lines of chunks", predict(HOST, KEY, CHUNKED, CHUNKED, body=CHUNKED_ROW), (200, 200)),
    Case("CHUNKED", predict(HOST, KEY, b"Transfer-Encoding: CHUNKED", body=CHUNKED_ROW), (200, 200)),
    Case("xchunked", predict(HOST, KEY, b"Transfer-Encoding: xchunked", body=CHUNKED_ROW), (400,)),
    Case("chunked in quotes", predict(HOST, KEY, b'Transfer-Encoding: "chunked"', body=CHUNKED_ROW), (400,)),
    Case("chunked after a tab", predict(HOST, KEY, b"Transfer-Encoding:\tchunked", body=CHUNKED_ROW), (200, 200)),
    Case(
        "chunked with a vertical tab", predict(HOST, KEY, b"Transfer-Encoding: \x0bchunked", body=CHUNKED_ROW), (400,)
    ),
    Case("a space before the colon", predict(HOST, KEY, b"Transfer-Encoding : chunked", LENGTH, body=ROW), (400,)),
    Case("chunks in HTTP/1.0", predict(HOST, KEY, CHUNKED, body=CHUNKED_ROW, version=b"1.0"), (400,)),
    Case("chunks on GET", get(b"/health/live", HOST, CHUNKED) + b"0\r\n\r\n", (200, 200)),
    Case(
        "chunks on GET that are a request",
        get(b"/info", HOST, CHUNKED) + b"%x\r\n%b\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED),
        (200, 200),
    ),
]

LINES = [
    Case("a head in bare LFs", plain().replace(b"\r\n", b"\n"), (200, 200)),
    Case("one bare LF", plain(b"A: b\nC: d"), (200, 200)),
    Case("a bare CR in a value", plain(b"A: b\rC: d"), (400,)),
    Case("a bare CR between lines", predict(HOST + b"\r" + KEY, LENGTH), (400,)),
    Case("NUL in a value", plain(b"A: b\0c"), (400,)),
    Case("NUL in a name", plain(b"A\0: b"), (400,)),
    Case("DEL in a value", plain(b"A: b\x7fc"), (400,)),
    Case("a folded line", plain(b"A: b\r\n c"), (400,)),
    Case("a folded length", predict(HOST, KEY, b"Content-Length:\r\n 31"), (400,)),
    Case("a folded key", predict(HOST, b"X-API-Key:\r\n\tKEY", LENGTH), (400,)),
    Case("a first line that is folded", predict(b" folded: yes", HOST, KEY, LENGTH), (400,)),
    Case("a line without a colon", plain(b"nothing"), (400,)),
    Case("a line without a name", plain(b": nothing"), (400,)),
    Case("an empty value", plain(b"A:"), (200, 200)),
    Case("a name in Latin-1", plain(b"\xe9: b"), (400,)),
    Case("a value in Latin-1", plain(b"A: \xe9"), (200, 200)),
    Case("a name with a space before its colon", plain(b"Cookie : b"), (400,)),
    Case("empty lines before", b"\r\n\r\n" + plain(), (200, 200)),
    Case("a head beyond its limit", plain(b"A: " + b"b" * 200_000), (431,)),
    Case("a name beyond the limit", plain(b"A" * 200_000 + b": b"), (431,)),
    Case("too many lines", plain(*[b"A%d: b" % number for number in range(120)]), (431,)),
    Case("as many lines as there may be", plain(*[b"A%d: b" % number for number in range(90)]), (200, 200)),
    Case("a target beyond the limit", plain(target=b"/api/v1/predict/" + b"a" * 66_000), (414,)),
    Case("no version", b"GET /health/live\r\n\r\n", (400,)),
    Case("HTTP/1.2", get(b"/health/live", HOST, version=b"1.2"), (400,)),
    Case("HTTP/2.0", get(b"/health/live", HOST, version=b"2.0"), (400,)),
    Case("http/1.1 in small letters", get(b"/health/live", HOST).replace(b"HTTP", b"http"), (400,)),
    Case("two spaces", b"GET  /health/live HTTP/1.1\r\nHost: x\r\n\r\n", (400,)),
    Case("a tab for a space", b"GET\t/health/live HTTP/1.1\r\nHost: x\r\n\r\n", (400,)),
    Case("the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", ()),
    Case("a handshake of TLS", bytes.fromhex("160301020001000001fc0303") + bytes(range(256)), (400,)),
    Case("zeros", bytes(4096), (400,)),
    Case("a method in small letters", plain(method=b"post"), (405, 200)),
    Case("a method that is none", plain(method=b"P(ST"), (400,)),
]

HTTP_1_0 = [
    Case("HTTP/1.0", plain(version=b"1.0"), (200,)),
    Case("HTTP/1.0 without Host", predict(KEY, LENGTH, version=b"1.0"), (200,)),
    Case("HTTP/1.0 that stays", plain(b"Connection: keep-alive", version=b"1.0"), (200, 200)),
    Case("HTTP/1.0 to the app", get(b"/info", version=b"1.0"), (200,)),
    Case("HTTP/1.0 to the app that stays", get(b"/info", b"Connection: keep-alive", version=b"1.0"), (200, 200)),
]

HOSTS = [
    Case("two hosts", plain(b"Host: y"), (400,)),
    Case("two hosts to the app", get(b"/info", HOST, b"Host: y"), (400,)),
    Case("no host", predict(KEY, LENGTH), (400,)),
    Case("no host for the probe", get(b"/health/live"), (400,)),
    Case("a host that is none for the probe", get(b"/health/live", b"Host: a/b@c d"), (400, 200)),
    Case("a host in brackets", predict(b"Host: [::1]:80", KEY, LENGTH), (200, 200)),
    Case("an empty host", predict(b"Host:", KEY, LENGTH), (200, 200)),
    Case("a host that is none", predict(b"Host: a/b@c d", KEY, LENGTH), (400, 200)),
    Case("an absolute URI", plain(target=b"http://x/api/v1/predict/iris"), (200, 200)),
    Case("an absolute URI of another host", plain(target=b"http://other:81/api/v1/predict/iris"), (200, 200)),
    Case("an absolute URI with somebody in it", plain(target=b"http://me:secret@x/api/v1/predict/iris"), (200, 200)),
    Case("an absolute URI of another scheme", plain(target=b"ftp://x/api/v1/predict/iris"), (200, 200)),
    Case("an absolute URI without a path", get(b"http://x", HOST), (200, 200)),
    Case("an absolute URI without a scheme", plain(target=b"x/api/v1/predict/iris"), (400,)),
    Case("an authority for a target", get(b"x:80", HOST), (200, 200)),
]

TARGETS = [
    Case("the short route", plain(target=b"/predict", body=SHORT_ROW), (200, 200)),
    Case("the older spelling", plain(target=b"/api/predict/iris"), (200, 200)),
    Case("an owner", plain(target=b"/api/v1/predict/admin/iris"), (200, 200)),
    Case("a letter by its number", plain(target=b"/api/v1/predict/%69ris"), (200, 200)),
    Case("a letter of the route by its number", plain(target=b"/api/v1/p%72edict/iris"), (200, 200)),
    Case("the short route by numbers", plain(target=b"/%70redict", body=SHORT_ROW), (200, 200)),
    Case("a slash by its number", plain(target=b"/api/v1/predict%2Firis"), (404, 200)),
    Case("a slash between owner and model by its number", plain(target=b"/api/v1/predict/admin%2firis"), (404, 200)),
    Case("a letter by its number twice", plain(target=b"/api/v1/predict/%2569ris"), (404, 200)),
    Case("a number that is none", plain(target=b"/api/v1/predict/%zzris"), (404, 200)),
    Case("NUL by its number", plain(target=b"/api/v1/predict/iris%00"), (404, 200)),
    Case("line ends by their numbers", plain(target=b"/api/v1/predict/iris%0d%0aX:%20y"), (404, 200)),
    Case("a step up", plain(target=b"/api/v1/predict/../predict/iris"), (404, 200)),
    Case("a step up by its numbers", plain(target=b"/api/v1/predict/%2e%2e/iris"), (404, 200)),
    Case("a step on the spot", plain(target=b"/api/v1/./predict/iris"), (404, 200)),
    Case("a step on the spot for a model", plain(target=b"/api/v1/predict/."), (404, 200)),
    Case("two slashes", plain(target=b"//predict", body=SHORT_ROW), (404, 200)),
    Case("two slashes within", plain(target=b"/api/v1//predict/iris"), (404, 200)),
    Case("two slashes before the model", plain(target=b"/api/v1/predict//iris"), (404, 200)),
    Case("a slash at the end", plain(target=b"/api/v1/predict/iris/"), (404, 200)),
    Case("a slash at the end of the short route", plain(target=b"/predict/", body=SHORT_ROW), (404, 200)),
    Case("capitals", plain(target=b"/API/v1/predict/iris"), (404, 200)),
    Case("a parameter of the path", plain(target=b"/api/v1/predict/iris;v=1"), (404, 200)),
    Case("a fragment", plain(target=b"/api/v1/predict/iris#x"), (200, 200)),
    Case("an empty query", plain(target=b"/api/v1/predict/iris?"), (200, 200)),
    Case("a query of nothing", plain(target=b"/api/v1/predict/iris?&"), (200, 200)),
    Case("a version", plain(target=b"/api/v1/predict/iris?version=1&outputs=probabilities"), (200, 200)),
    Case("a version by its number", plain(target=b"/api/v1/predict/iris?version=%31"), (200, 200)),
    Case("a version with a zero before it", plain(target=b"/api/v1/predict/iris?version=01"), (400, 200)),
    Case("a version in two", plain(target=b"/api/v1/predict/iris?version=1&version=1"), (400, 200)),
    Case("a query on the short route", plain(target=b"/predict?version=1", body=SHORT_ROW), (400, 200)),
    Case("a space in the target", plain(target=b"/api/v1/predict/ir is"), (400,)),
    Case("Latin-1 in the target", plain(target=b"/api/v1/predict/\xe9"), (400,)),
    Case("UTF-8 in the target", plain(target="/api/v1/predict/é".encode()), (404, 200)),
    Case("a backslash", plain(target=b"/api\\v1\\predict\\iris"), (404, 200)),
    Case("a target without its slash", plain(target=b"predict", body=SHORT_ROW), (405, 200)),
    Case("a star", get(b"*", HOST, method=b"OPTIONS"), (404, 200)),
    Case("a star for GET", get(b"*", HOST), (404, 200)),
]

METHODS = [
    Case("CONNECT", get(b"x:80", HOST, method=b"CONNECT"), (400,)),
    Case("CONNECT to a path", get(b"/predict", HOST, method=b"CONNECT"), (400,)),
    Case("TRACE", get(b"/health/live", HOST, method=b"TRACE"), (405, 200)),
    Case("OPTIONS", get(b"/predict", HOST, method=b"OPTIONS"), (204, 200)),
    Case("GET of a prediction", plain(method=b"GET"), (405, 200)),
    Case("PUT of a prediction", plain(method=b"PUT"), (405, 200)),
    Case("POST of the probe", plain(target=b"/health/live"), (405, 200)),
]

CONNECTION_NAMED = [
    Case(
        f"Connection names {name}", plain(f"Connection: {name}".encode(), JSON, b"X-Serval-Peer: 9.9.9.9:1"), (200, 200)
    )
    for name in [
        "x-api-key",
        "X-API-Key, content-length",
        "content-length",
        "content-type",
        "host",
        "x-serval-peer",
        "x-request-id",
        "authorization",
        "transfer-encoding",
        "connection",
        "keep-alive, x-api-key",
        "expect",
        "accept",
        ",,",
        "a b",
        "\xe9",
    ]
] + [
    Case(
        "Connection names the media type of CSV",
        plain(b"Connection: content-type", b"Content-Type: text/csv; header=absent", body=b"5.1,3.5,1.4,0.2\n"),
        (200, 200),
    ),
    Case(
        "Connection names what keeps from the cache",
        plain(b"Connection: cache-control", b"Cache-Control: no-cache"),
        (200, 200),
    ),
    Case(
        "Connection names the encoding", plain(b"Connection: content-encoding", b"Content-Encoding: gzip"), (415, 200)
    ),
    Case(
        "Connection names the length of an upload's refusal",
        plain(b"Connection: content-length", target=b"/api/v1/models/upload"),
        (415, 200),
    ),
    Case("Connection closes", plain(b"Connection: close"), (200,)),
    Case("Connection closes and stays", plain(b"Connection: close, keep-alive"), (200,)),
    Case("two lines of Connection", plain(b"Connection: keep-alive", b"Connection: close"), (200,)),
]

UPGRADES = [
    Case(
        "a WebSocket",
        get(
            b"/predict",
            HOST,
            b"Connection: Upgrade",
            b"Upgrade: websocket",
            b"Sec-WebSocket-Version: 13",
            b"Sec-WebSocket-Key: eHh4eHh4eHh4eHh4eHh4eA==",
        ),
        (405, 200),
    ),
    Case(
        "h2c",
        plain(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQAAP__"),
        (200, 200),
    ),
    Case(
        "h2c for the probe",
        get(
            b"/health/live",
            HOST,
            b"Connection: Upgrade, HTTP2-Settings",
            b"Upgrade: h2c",
            b"HTTP2-Settings: AAMAAABkAAQAAP__",
        ),
        (200, 200),
    ),
    Case("TE", plain(b"TE: trailers, deflate"), (200, 200)),
]

KEYS = [
    Case("no key", predict(HOST, LENGTH), (401, 200)),
    Case("two keys", plain(KEY), (400, 200)),
    Case("a key and a bearer", plain(b"Authorization: Bearer KEY"), (400, 200)),
    Case("a bearer", predict(HOST, b"Authorization: Bearer KEY", LENGTH), (200, 200)),
    Case("a BEARER", predict(HOST, b"Authorization: BEARER KEY", LENGTH), (200, 200)),
    Case("a bearer after two spaces", predict(HOST, b"Authorization: Bearer  KEY", LENGTH), (200, 200)),
    Case("a bearer after a tab", predict(HOST, b"Authorization: Bearer\tKEY", LENGTH), (401, 200)),
    Case("a bearer of nothing", predict(HOST, b"Authorization: Bearer", LENGTH), (401, 200)),
    Case("no bearer", predict(HOST, b"Authorization: Basic YTpi", LENGTH), (401, 200)),
    Case("an authorization of nothing", predict(HOST, b"Authorization:", LENGTH), (401, 200)),
    Case("a key among spaces", predict(HOST, b"X-API-Key: \t KEY \t", LENGTH), (200, 200)),
    Case("a key among hard spaces", predict(HOST, b"X-API-Key: \xa0KEY\xa0", LENGTH), (200, 200)),
    Case("a key after a next line", predict(HOST, b"X-API-Key: \x85KEY", LENGTH), (200, 200)),
    Case("a key and a letter", predict(HOST, b"X-API-Key: KEYx", LENGTH), (401, 200)),
    Case("a key in quotes", predict(HOST, b'X-API-Key: "KEY"', LENGTH), (401, 200)),
    Case("an empty key", predict(HOST, b"X-API-Key:", LENGTH), (401, 200)),
    Case("a key that nobody has", predict(HOST, b"X-API-Key: UNKNOWN", LENGTH), (401, 200)),
    Case("a key in the query", predict(HOST, LENGTH, target=b"/api/v1/predict/iris?x-api-key=KEY"), (401, 200)),
    Case(
        "a request in place of a refused body",
        predict(HOST, b"Content-Length: %d" % len(SMUGGLED), body=SMUGGLED),
        (401, 200),
    ),
]

CONTENTS = [
    Case("no media type", plain(), (200, 200)),
    Case("JSON", plain(JSON), (200, 200)),
    Case("JSON with a charset", plain(b"Content-Type: application/json; charset=utf-8"), (200, 200)),
    Case("JSON in capitals", plain(b"Content-Type: APPLICATION/JSON"), (200, 200)),
    Case("JSON in Latin-1", plain(b"Content-Type: application/json; charset=latin-1"), (200, 200)),
    Case("an empty media type", plain(b"Content-Type:"), (415, 200)),
    Case("two media types", plain(JSON, b"Content-Type: text/csv"), (200, 200)),
    Case("CSV", plain(b"Content-Type: text/csv; header=absent", body=b"5.1,3.5,1.4,0.2\n"), (200, 200)),
    Case("a form", plain(b"Content-Type: application/x-www-form-urlencoded"), (415, 200)),
    Case("gzip", plain(b"Content-Encoding: gzip"), (415, 200)),
    Case("identity", plain(b"Content-Encoding: identity"), (200, 200)),
    Case("identity and gzip", plain(b"Content-Encoding: identity", b"Content-Encoding: gzip"), (200, 200)),
    Case("no cache", plain(b"Cache-Control: no-cache"), (200, 200)),
    Case("no cache in quotes", plain(b'Cache-Control: private="no-cache"'), (200, 200)),
    Case("two lines about the cache", plain(b"Cache-Control: max-age=0", b"Cache-Control: no-cache"), (200, 200)),
    Case("a body that is no JSON", plain(body=b"{"), (400, 200)),
    Case("a body that is empty", plain(body=b""), (400, 200)),
    Case("a body with a mark of its order", plain(body=b"\xef\xbb\xbf" + ROW), (400, 200)),
    Case("a body in UTF-16", plain(body=ROW.decode().encode("utf-16")), (400, 200)),
    Case("a body of strings", plain(body=b'{"input": ["5.1", "3.5", "1.4", "0.2"]}'), (400, 200)),
    Case("a body beyond its limit", plain(body=b" " * 1_100_000), (413,)),
    Case("a length beyond the limit", predict(HOST, KEY, b"Content-Length: 1100000"), (413,)),
    Case(
        "chunks beyond the limit",
        chunked(b"10c8e0\r\n" + b" " * 1_100_000 + b"\r\n0\r\n\r\n", b"Connection: close"),
        (413,),
    ),
    Case("a length beyond the limit, without a key", predict(HOST, b"Content-Length: 1100000"), (401,)),
]

IDS = [
    Case("an id with a colon", plain(b"X-Request-Id: a:b"), (200, 200)),
    Case("an id that is empty", plain().replace(b"Id: first", b"Id:"), (200, 200)),
    Case(
        "an id with line ends by their numbers", plain().replace(b"Id: first", b"Id: a%0d%0aSet-Cookie:b"), (200, 200)
    ),
    Case("an id beyond its length", plain().replace(b"Id: first", b"Id: " + b"a" * 200), (200, 200)),
    Case("an id in Latin-1", plain().replace(b"Id: first", b"Id: \xe9"), (200, 200)),
    Case("a peer of the client's own", plain(b"X-Serval-Peer: 9.9.9.9:1"), (200, 200)),
    Case("a peer that is none", get(b"/info", HOST, b"X-Serval-Peer: nobody"), (200, 200)),
]

EXPECTATIONS = [
    Case("an expectation", plain(b"Expect: 100-continue"), (200, 200)),
    Case("an expectation in capitals", plain(b"Expect: 100-CONTINUE"), (200, 200)),
    Case("two expectations", plain(b"Expect: 100-continue", b"Expect: 100-continue"), (200, 200)),
    Case("an unknown expectation", plain(b"Expect: nothing"), (200, 200)),
    Case("an expectation without a key", predict(HOST, LENGTH, b"Expect: 100-continue"), (401, 200)),
    Case("an expectation for the probe", get(b"/health/live", HOST, b"Expect: 100-continue"), (200, 200)),
]

CASES = [
    *LENGTHS,
    *CHUNKS,
    *LINES,
    *HTTP_1_0,
    *HOSTS,
    *TARGETS,
    *METHODS,
    *CONNECTION_NAMED,
    *UPGRADES,
    *KEYS,
    *CONTENTS,
    *IDS,
    *EXPECTATIONS,
]
