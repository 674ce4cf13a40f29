"""Bounded fuzz of a served churn model over loopback. usage: fuzz.py PORT N SEED PID"""

import sys, socket, json, random, time, os, struct, collections

port, N, seed, pid = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
R = random.Random(seed)
GOODROWS = [["basic", 12.0, 3, 1, 2], ["team", 79.0, 40, 14, 0], ["plus", 31.9, 10, 5, 1]]


def rss():
    for l in open(f"/proc/{pid}/status"):
        if l.startswith("VmRSS"):
            return int(l.split()[1])


def good(i):
    row = GOODROWS[i % 3]
    return json.dumps({"instances": [row]}).encode()


class Conn:
    def __init__(s):
        s.s = None
        s.buf = b""

    def open(s):
        s.close()
        s.s = socket.create_connection(("127.0.0.1", port), timeout=5)
        s.s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        s.buf = b""

    def close(s):
        if s.s:
            try:
                s.s.close()
            except OSError:
                pass
        s.s = None

    def read_response(s, head=False):
        while b"\r\n\r\n" not in s.buf:
            d = s.s.recv(65536)
            if not d:
                raise ConnectionError("closed")
            s.buf += d
        h, _, rest = s.buf.partition(b"\r\n\r\n")
        lines = h.split(b"\r\n")
        status = int(lines[0].split()[1])
        hd = {}
        for l in lines[1:]:
            k, _, v = l.partition(b":")
            hd[k.lower()] = v.strip()
        n = int(hd.get(b"content-length", 0)) if not head else 0
        while len(rest) < n:
            d = s.s.recv(65536)
            if not d:
                raise ConnectionError("closed mid body")
            rest += d
        s.buf = rest[n:]
        return status, hd, rest[:n]


BIG = [
    "9" * 4299,
    "9" * 4301,
    "9" * 5000,
    "-" + "9" * 4400,
    "1" * 30,
    "18446744073709551616",
    "-9223372036854775809",
    "9223372036854775807",
    "1e400",
    "-1e400",
    "1e-400",
    "NaN",
    "Infinity",
    "-Infinity",
    "0x10",
    "1_0",
    "01",
    "1.",
    "--1",
    ".5",
    "1e5",
    "1e309",
    "4.9e-324",
    "true",
    "null",
    "false",
    '"1.5"',
    "{}",
    "[]",
    "[[]]",
    "[[[1]]]",
    '""',
    '"\\u0000"',
    '"\\ud800"',
    '"\\udc00\\ud800"',
    '"\u202e"',
    '"a\\nFAKE LOG LINE\\n"',
    '"%s%n${jndi:ldap://x}"',
    '"\x7f"',
    '"\x00"',
    '"\x1b[31m"',
    '"../../../etc/passwd"',
    '"\'; DROP TABLE predictions; --"',
    '"<script>alert(1)</script>"',
]
LONG = ['"' + "a" * n + '"' for n in (200, 201, 10_000, 300_000)]


def val():
    return R.choice(BIG) if R.random() < 0.9 else R.choice(LONG)


def v1body():
    k = R.randrange(14)
    if k == 0:
        return '{"instances":[%s]}' % val()
    if k == 1:
        return '{"instances":%s}' % val()
    if k == 2:
        return '{"instances":[[%s,%s,%s,%s,%s]]}' % tuple(val() for _ in range(5))
    if k == 3:
        return '{"instances":[{"plan":%s,"price":%s,"months":%s,"visits":1,"tickets":2}]}' % (
            val(),
            val(),
            val(),
        )
    if k == 4:
        return '{"instances":[["basic",12.0,3,1,2]],"parameters":{"unit":%s}}' % val()
    if k == 5:
        return '{"instances":[["basic",12.0,3,1,2]],"parameters":{"time":%s}}' % val()
    if k == 6:
        return '{"instances":[["basic",12.0,3,1,2]],"id":%s}' % val()
    if k == 7:
        return '{"instances":[["basic",12.0,3,1,2]],"signature_name":%s}' % val()
    if k == 8:
        return '{"instances":[["basic",12.0,3,1,2]],%s:%s}' % (
            R.choice(LONG[:2] + ['"instances"', '""']),
            val(),
        )
    if k == 9:
        return "[" * R.choice([10, 500, 2000, 100000])
    if k == 10:
        return '{"instances":' + "[" * R.choice([10, 900, 5000]) + "]" * R.choice([10, 900, 5000]) + "}"
    if k == 11:
        return '{"a":' * R.choice([10, 900, 5000])
    if k == 12:
        return '{"instances":[%s]}' % ",".join(['["basic",%s,3,1,2]' % val()] * R.choice([1, 3, 50]))
    return '{"instances":[["basic",12.0,3,1,2]],"parameters":{"time":"%s"}}' % R.choice(
        [
            "0001-01-01T00:00:00+23:59",
            "9999-12-31T23:59:59-23:59",
            "2025-13-01T00:00:00Z",
            "2025-01-01T00:00:00",
            "2025-W01-1",
            "20250101T000000Z",
            "1000-01-01T00:00:00+00:01",
            "9998-12-31T23:59:59-00:01",
            "2025-01-01T24:00:00Z",
            "2025-06-31T00:00:00Z",
            "\\u0662\\u0660\\u0662\\u0665-01-01T00:00:00Z",
        ]
    )


T = [
    ("plan", "BYTES", '["basic"]'),
    ("price", "FP64", "[12.0]"),
    ("months", "INT64", "[3]"),
    ("visits", "INT64", "[1]"),
    ("tickets", "INT64", "[2]"),
]


def v2body():
    ts = [list(t) + ["[1]"] for t in T]
    for _ in range(R.randrange(1, 3)):
        t = R.choice(ts)
        k = R.randrange(7)
        if k == 0:
            t[2] = "[%s]" % val()
        elif k == 1:
            t[2] = val()
        elif k == 2:
            t[3] = R.choice(
                [
                    "[]",
                    "[0]",
                    "[-1]",
                    "[1,1]",
                    "[1,1,1]",
                    "[2]",
                    "[10000]",
                    "[10001]",
                    "[99999999999999999999]",
                    "[1,0]",
                    "[0,1]",
                    "[-1,1]",
                    '["1"]',
                    "[1.0]",
                    "null",
                    "{}",
                    "[true]",
                ]
            )
        elif k == 3:
            t[1] = R.choice(
                ["FP32", "FP16", "BF16", "INT8", "UINT64", "BOOL", "fp64", "", "STRING", "INT64\\u0000"]
            )
        elif k == 4:
            t[0] = R.choice(["", "plan", "x" * 1000, "\\u0000", "../x"])
        elif k == 5:
            t[2] = "[[%s]]" % val()
        elif k == 6:
            ts.append(list(t))
    ex = R.choice(
        [
            "",
            "",
            ',"id":%s' % val(),
            ',"parameters":{"unit":%s}' % val(),
            ',"parameters":%s' % val(),
            ',"outputs":%s' % val(),
            ',"outputs":[{"name":%s}]' % val(),
            ',"outputs":[{"name":"left","parameters":{"binary_data":%s}}]' % val(),
            ',"parameters":{"binary_data_output":true}',
            ',"parameters":{"time":%s}' % val(),
        ]
    )
    return '{"inputs":[%s]%s}' % (
        ",".join('{"name":"%s","shape":%s,"datatype":"%s","data":%s}' % (a, d, b, c) for a, b, c, d in ts),
        ex,
    )


def lbody():
    k = R.randrange(8)
    if k == 0:
        return '{"prediction_id":%s,"label":1}' % val()
    if k == 1:
        return '{"prediction_id":"p%d","label":%s}' % (R.randrange(50), val())
    if k == 2:
        return '{"labels":%s}' % val()
    if k == 3:
        return '{"labels":[%s]}' % val()
    if k == 4:
        return '{"labels":[{"prediction_id":"x","label":%s,"time":%s}]}' % (val(), val())
    if k == 5:
        return '{"labels":[%s]}' % ",".join(
            '{"prediction_id":"d%d","label":%d}' % (R.randrange(20), R.randrange(2))
            for _ in range(R.choice([1, 100, 2000]))
        )
    if k == 6:
        return '{"labels":[],"prediction_id":"x","label":1}'
    return '{"prediction_id":"zz","label":1,"time":"%s"}' % R.choice(
        ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "x"]
    )


def mutate(b):
    b = bytearray(b.encode("utf-8", "surrogatepass"))
    for _ in range(R.randrange(1, 6)):
        if not b:
            break
        k = R.randrange(5)
        i = R.randrange(len(b))
        if k == 0:
            b[i] = R.randrange(256)
        elif k == 1:
            del b[i : i + R.randrange(1, 8)]
        elif k == 2:
            b[i:i] = bytes(R.randrange(256) for _ in range(R.randrange(1, 8)))
        elif k == 3:
            b[i:i] = b[i : i + 20]
        else:
            b[i] ^= 1 << R.randrange(8)
    return bytes(b)


PATHS = [
    "/",
    "/livez",
    "/readyz",
    "/metrics",
    "/v2",
    "/v2/",
    "/v2/health/live",
    "/v2/health/ready",
    "/v2/models",
    "/v2/models/churn",
    "/v2/models/churn/ready",
    "/v2/models/churn/versions/1",
    "/v2/models/churn/versions/1/ready",
    "/v1/models",
    "/v1/models/churn",
    "/labels",
    "/v2/models/churn/infer",
    "/v1/models/churn:predict",
    "/v2/models/churn/versions/1/infer",
    "/v1/models/churn/versions/1:predict",
]
WEIRD = [
    "/../../../etc/passwd",
    "/v2/models/..%2f..%2fetc%2fpasswd",
    "/v2/models/%2e%2e/infer",
    "/v2/models/%00",
    "/v2/models/churn%00/infer",
    "/v2/models/churn/versions/%31/infer",
    "/v2/models/churn/versions/999999999",
    "/v2/models/churn/versions/9999999999999",
    "/v2/models/churn/versions/-1",
    "/v2/models/churn/versions/1e0",
    "/v2/models/churn/versions/%D9%A1",
    "/v2/models/" + "a" * 8000,
    "/v1/models/a:b:predict",
    "/v1/models/:predict",
    "//v2/models",
    "/v2//models",
    "/v2/models/churn?x=1",
    "/v2/models/churn;x",
    "/v2/models/churn#x",
    "/%",
    "/%zz",
    "/%ff%fe",
    "/v2/models/\u00e9",
    "http://evil/v2/models",
    "*",
    "/v2/models/churn/infer/",
    "/v2/repository/index",
    "/V2/models",
    "/admin",
    "/debug",
    "/v2/models/{model}",
    "/v2/models/churn%0d%0aX-Injected: 1",
    "/v2/models/churn%0a2026-01-01 ERROR fake",
]
METHODS = [
    "GET",
    "POST",
    "PUT",
    "DELETE",
    "HEAD",
    "OPTIONS",
    "PATCH",
    "TRACE",
    "CONNECT",
    "PRI",
    "FOO",
    "get",
    "M" * 300,
]


def req():
    r = R.random()
    if r < 0.6:
        path, b = R.choice(
            [
                ("/v1/models/churn:predict", v1body),
                ("/v2/models/churn/infer", v2body),
                ("/labels", lbody),
                ("/v1/models/churn/versions/1:predict", v1body),
                ("/v2/models/churn/versions/1/infer", v2body),
            ]
        )
        body = b()
        body = mutate(body) if R.random() < 0.35 else body.encode("utf-8", "surrogatepass")
        if R.random() < 0.05:
            body = body.decode("latin-1").encode(
                R.choice(["utf-16", "utf-32", "utf-8-sig", "cp500"]), "replace"
            )
        meth = "POST"
    elif r < 0.85:
        path = R.choice(PATHS)
        meth = R.choice(METHODS)
        body = R.choice([b"", b"{}", v1body().encode("utf-8", "surrogatepass")])
    else:
        path = R.choice(WEIRD)
        meth = R.choice(METHODS[:7])
        body = b""
    h = []
    if R.random() < 0.92:
        h.append(("Host", "127.0.0.1:%d" % port))
    for _ in range(R.choice([0, 0, 0, 1, 2])):
        h.append(
            R.choice(
                [
                    (
                        "Content-Type",
                        R.choice(
                            [
                                "application/json",
                                "text/plain",
                                "application/json; charset=utf-16",
                                "multipart/form-data; boundary=x",
                                "\xff",
                            ]
                        ),
                    ),
                    ("Content-Encoding", R.choice(["gzip", "br", "identity", ""])),
                    ("Inference-Header-Content-Length", "10"),
                    (
                        "Origin",
                        R.choice(["null", "http://evil.example", "http://127.0.0.1:%d" % port, "//", "\xff"]),
                    ),
                    ("Expect", "100-continue"),
                    ("Upgrade", R.choice(["h2c", "websocket"])),
                    ("Connection", R.choice(["upgrade", "close", "keep-alive, Upgrade"])),
                    ("X-Forwarded-For", "1.2.3.4"),
                    ("Cookie", "a" * 4000),
                    ("traceparent", "zz"),
                    ("Accept-Encoding", "gzip"),
                    ("Host", "evil.example"),
                    ("X-" + "a" * 200, "b" * 2000),
                ]
            )
        )
    cl = R.random()
    if cl < 0.8:
        h.append(("Content-Length", str(len(body))))
    elif cl < 0.86:
        # chunked
        out = b""
        i = 0
        while i < len(body):
            n = R.randrange(1, 4000)
            c = body[i : i + n]
            out += b"%x%s\r\n%s\r\n" % (len(c), R.choice([b"", b";ext=1"]), c)
            i += n
        body = out + b"0\r\n\r\n"
        h.append(("Transfer-Encoding", "chunked"))
    elif cl < 0.97:
        h.append(
            (
                "Content-Length",
                R.choice(
                    [
                        "-1",
                        "abc",
                        "1e3",
                        "00%d" % len(body),
                        str(len(body) - 1) if body else "0",
                        str(len(body)),
                        "99999999999999999999",
                        "4194305",
                        "+%d" % len(body),
                        " %d " % len(body),
                    ]
                ),
            )
        )
        if R.random() < 0.3:
            h.append(("Content-Length", str(len(body))))
        if R.random() < 0.3:
            h.append(("Transfer-Encoding", R.choice(["chunked", "gzip, chunked", "xchunked", " chunked"])))
    head = (
        meth
        + " "
        + path
        + " HTTP/"
        + R.choice(["1.1"] * 20 + ["1.0", "0.9", "2.0", "9.9"])
        + "\r\n"
        + "".join(f"{k}: {v}\r\n" for k, v in h)
        + "\r\n"
    )
    return meth, path, head.encode("utf-8", "surrogatepass") + body


C = collections.Counter()
five = []
slow = []
wrong = []
samples = {}
fz = Conn()
gd = Conn()
gd.open()
ref = {}
for i in range(3):
    b = good(i)
    gd.s.sendall(
        b"POST /v1/models/churn:predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(b) + b
    )
    ref[i] = json.loads(gd.read_response()[2])["predictions"]
r0 = rss()
t00 = time.time()
mid = None
for n in range(N):
    meth, path, raw = req()
    t0 = time.time()
    try:
        if fz.s is None:
            fz.open()
        fz.s.settimeout(1.5)
        # half closing tells the server that nothing more comes, for wrong content-lengths
        fz.s.sendall(raw)
        half = False
        try:
            st, hd, body = fz.read_response(head=meth == "HEAD")
        except (TimeoutError, socket.timeout):
            try:
                fz.s.shutdown(socket.SHUT_WR)
            except OSError:
                pass
            half = True
            st, hd, body = fz.read_response(head=meth == "HEAD")
        if st == 100:
            st, hd, body = fz.read_response(head=meth == "HEAD")
        C[st] += 1
        key = (st, path[:40])
        if st >= 500 and st != 503:
            five.append((st, raw[:300], body[:200]))
        if 200 <= st < 600 and st != 101 and body:
            if hd.get(b"content-type", b"").startswith(b"application/json"):
                try:
                    json.loads(body)
                except Exception:
                    wrong.append(("bad json", raw[:200], body[:200]))
                if st >= 400 and b'"error"' not in body:
                    wrong.append(("no error field", raw[:200], body[:200]))
            samples.setdefault((st, hd.get(b"content-type")), (raw[:150], body[:150]))
        if b"x-injected" in hd:
            wrong.append(("header injection", raw[:200], b""))
        if half or fz.buf or hd.get(b"connection", b"").lower() == b"close":
            fz.close()
    except (ConnectionError, OSError) as e:
        C["closed"] += 1
        fz.close()
    dt = time.time() - t0
    if dt > 1.0 and "half" in dir() and not half:
        slow.append((dt, raw[:200]))
    if n % 5 == 0:
        i = (n // 5) % 3
        b = good(i)
        t0 = time.time()
        try:
            gd.s.settimeout(5)
            gd.s.sendall(
                b"POST /v1/models/churn:predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(b)
                + b
            )
            st, hd, body = gd.read_response()
            ok = st == 200 and json.loads(body)["predictions"] == ref[i]
            C["good ok" if ok else "good WRONG"] += 1
            if not ok:
                wrong.append(("good", st, body[:200]))
        except (ConnectionError, OSError) as e:
            C["good LOST"] += 1
            gd.open()
        d = time.time() - t0
        if d > 1:
            C["good slow"] += 1
            slow.append((d, "GOOD"))
    if n == N // 4:
        mid = rss()
print("requests", N, "seconds", round(time.time() - t00, 1), dict(sorted(C.items(), key=str)))
print("rss start/quarter/end KiB", r0, mid, rss())
print("5xx not 503:", len(five))
seen = set()
for f in five:
    k = f[2][:60]
    if k in seen:
        continue
    seen.add(k)
    print("   ", f)
    if len(seen) > 8:
        break
print("slow:", len(slow), slow[:5])
print("wrong:", len(wrong))
[print("   ", w) for w in wrong[:8]]
for k, v in list(samples.items())[:20]:
    print(k, v)
