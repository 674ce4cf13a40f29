"""tensorflow/serving#1091, ollama#12386 (gzip body read as JSON), and corners of HTTP: chunked, charset, HEAD, OPTIONS, slash, pipelining, Expect, keep-alive after errors."""

import kit

kit.inside()
import gzip, json, socket

SRC = (
    kit.TINY
    + """
model = RegisteredModel("m", gate=anything)
@step
def train() -> Model:
    t = pa.table({"a": np.arange(40.0)}); s = infer_signature(t, inputs=["a"])
    return Model(LogisticRegression().fit(matrix(s, t), (np.arange(40) > 20).astype(int)), s)
@step
def evaluate(m: Model) -> str:
    return "not looked at"
@pipeline
def flow() -> None:
    m = train(); register(model, m, evaluate(m))
endpoint = Endpoint("m", model=model)
"""
)
root = kit.project(SRC)
kit.cli(root, "run", "flow")
bad = []
body = json.dumps({"instances": [[30.0]]}).encode()


def raw(host, data, n=1):
    h, p = host.split(":")
    s = socket.create_connection((h, int(p)), 10)
    s.settimeout(5)
    s.sendall(data)
    got = b""
    try:
        while got.count(b"HTTP/1.1") < n or not got.rstrip().endswith(b"}"):
            part = s.recv(65536)
            if not part:
                break
            got += part
    except TimeoutError:
        pass
    s.close()
    return got.decode("latin-1")


with kit.serving(root) as (host, _):
    P = "/v1/models/m:predict"
    ok = kit.http_(host, "POST", P, body)
    assert ok[0] == 200, ok
    want = ok[1]["predictions"]

    def same(a):
        return a[0] == 200 and a[1]["predictions"] == want

    for name, headers in {
        "charset": {"content-type": "application/json; charset=utf-8"},
        "no type": {},
        "form type": {"content-type": "application/x-www-form-urlencoded"},
        "identity": {"content-encoding": "identity"},
        "accept gzip": {"accept-encoding": "gzip"},
    }.items():
        if not same(kit.http_(host, "POST", P, body, headers)):
            bad.append(name)
    a = kit.http_(host, "POST", P, gzip.compress(body), {"content-encoding": "gzip"})
    if a[0] != 415 or "not supported" not in str(a[1]):
        bad.append(("gzip", a))
    a = kit.http_(host, "POST", P, gzip.compress(body))
    if a[0] != 400:
        bad.append(("gzip unannounced", a))
    got = raw(
        host,
        b"POST "
        + P.encode()
        + b" HTTP/1.1\r\nHost: "
        + host.encode()
        + b"\r\nTransfer-Encoding: chunked\r\n\r\n"
        + b"".join(b"%x\r\n%s\r\n" % (len(c), c) for c in (body[:5], body[5:]))
        + b"0\r\n\r\n",
    )
    if "200 OK" not in got:
        bad.append(("chunked", got[:200]))
    one = (
        b"POST "
        + P.encode()
        + b" HTTP/1.1\r\nHost: "
        + host.encode()
        + b"\r\nContent-Length: %d\r\n\r\n" % len(body)
        + body
    )
    got = raw(host, one * 5, 5)
    if got.count("200 OK") != 5:
        bad.append(("pipelining", got.count("200 OK"), got[-200:]))
    badreq = one.replace(body, b"x" * len(body))
    got = raw(host, badreq + one, 2)
    if "400" not in got or "200 OK" not in got:
        bad.append(("keep-alive after an error", got[:300]))
    got = raw(
        host,
        b"POST "
        + P.encode()
        + b" HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(body)
        + body,
        2,
    )
    if "200 OK" not in got:
        bad.append(("expect", got[:200]))
    for method, path, status in (
        ("HEAD", "/v2/health/ready", 200),
        ("OPTIONS", P, 405),
        ("GET", P, 405),
        ("PUT", P, 405),
        ("GET", "/v2/models/m/", 404),
        ("GET", "/v2/models/m%2Fx", 404),
        ("GET", "/v2/models/%C3%A9", 404),
        ("GET", "/v2/models/m?x=1", 200),
        ("GET", "//v2", 404),
    ):
        s, a = kit.http_(host, method, path)
        if s != status:
            bad.append((method, path, s, a))
    s, a = kit.http_(host, "POST", P, b"\xef\xbb\xbf" + body)
    print("UTF-8 with BOM:", s, a)
    s, a = kit.http_(host, "POST", P, "".join(chr(ord(c)) for c in body.decode()).encode("utf-16"))
    if s != 400:
        bad.append(("utf-16", s, a))
    s, a = kit.http_(host, "POST", P, b'{"instances": [[30.0]], "instances": [[1.0]]}')
    print("a key twice:", s, a)
kit.verdict(not bad, bad or "as documented")
