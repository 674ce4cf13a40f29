"""Shared by the cases: a small project made by `everloop init`, its server or loop as a process, and a client.

EVERLOOP=path of the `everloop` command (default: beside this Python). Everything is on 127.0.0.1.
Prints PASS or FAIL with a reason; the exit code is 0 or 1. LACK and 2: the machine has not what the case needs.
"""

import fcntl, hashlib, http.client, json, os, shutil, signal, socket, subprocess, sys, tempfile, time, urllib.error, urllib.request
from pathlib import Path

EL = os.environ.get("EVERLOOP", str(Path(sys.executable).parent / "everloop"))
PY = str(Path(EL).parent / "python")
try:
    import everloop  # noqa: F401
except ImportError:  # run again with the Python that has it
    if os.environ.get("_CASE"):
        raise
    os.execve(PY, [PY, *sys.argv], dict(os.environ, _CASE="1"))


def of_this_code():
    """A word for the code that is tried: a project made by another one is not to be used again."""
    import everloop

    package = Path(everloop.__file__).parent
    files = sorted([*package.rglob("*.py"), *package.parents[1].glob("examples/*/*.py")])
    return hashlib.sha256(repr([(str(f), f.stat().st_mtime_ns) for f in files]).encode()).hexdigest()[:12]


SHARED = Path(os.environ.get("CASES_SHARED", tempfile.gettempdir()))
BASE = SHARED / f"everloop-case-base-{os.getuid()}-{of_this_code()}"
ROWS = {"plan": "basic", "price": 12.0, "months": 3, "visits": 1, "tickets": 2}
_children = []
_last = []  # what is to be done at the end


def verdict(ok, why):
    for child in _children:
        if child.poll() is None:
            child.send_signal(signal.SIGCONT)
            child.terminate()
    for child in _children:
        try:
            child.wait(15)
        except subprocess.TimeoutExpired:
            child.kill()
    for end in _last:
        end()
    print(("PASS " if ok else "FAIL ") + why, flush=True)
    os._exit(0 if ok else 1)


def lack(what):
    print("LACK " + what, flush=True)
    os._exit(2)


def swap(old, new):
    """An edit of a file; what is not there is told, because the case would ask something else without it."""

    def edit(text):
        if old not in text:
            verdict(False, f"the example has no {old!r} any more")
        return text.replace(old, new, 1)

    return edit


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def project(edit=None, toml=None, keep_state=True):
    """A fresh copy of the churn example with churn@1 as champion; `edit` changes churn.py."""
    with open(f"{BASE}.lock", "w") as lock:  # the case beside this one wants it too
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (BASE / "ok").exists():
            shutil.rmtree(BASE, ignore_errors=True)
            BASE.mkdir()
            subprocess.run([EL, "init", "churn"], cwd=BASE, check=True, capture_output=True)
            subprocess.run([EL, "run", "keep_fresh"], cwd=BASE / "churn", check=True, capture_output=True)
            (BASE / "ok").touch()
    root = Path(tempfile.mkdtemp(prefix="everloop-case-")) / "churn"
    shutil.copytree(BASE / "churn", root)
    if not keep_state:
        shutil.rmtree(root / ".everloop")
    port = free_port()
    t = (root / "everloop.toml").read_text().replace("port = 8080", f"port = {port}")
    (root / "everloop.toml").write_text(toml(t) if toml else t)
    c = (root / "churn.py").read_text()
    c = swap("cooldown=timedelta(minutes=10)", "cooldown=timedelta(seconds=1)")(c)
    c = swap("not_worse(margin=0.03)", "not_worse(margin=0.9)")(c)
    (root / "churn.py").write_text(edit(c) if edit else c)
    return root, port


def start(root, *words, env=None, wrap=()):
    log = open(root.parent / f"{words[0]}-{len(_children)}.log", "w")
    child = subprocess.Popen([*wrap, EL, *words], cwd=root, stdout=log, stderr=subprocess.STDOUT, env=env)
    child.log = log.name
    _children.append(child)
    return child


def said(child):
    return Path(child.log).read_text()


def post(port, path, body, timeout=10.0, headers=()):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data=data, headers=dict(headers))
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read() or b"{}")
    except (OSError, http.client.HTTPException) as error:
        return 0, repr(error)


def ask(port, timeout=5.0, **parameters):
    body = {
        "inputs": [
            {
                "name": n,
                "shape": [1],
                "datatype": {str: "BYTES", float: "FP64", int: "INT64"}[type(v)],
                "data": [v],
            }
            for n, v in ROWS.items()
        ]
    }
    if parameters:
        body["parameters"] = parameters
    return post(port, "/v2/models/churn/infer", body, timeout)


def up_to(condition, seconds, every=0.1):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(every)
    return False


def wait_ready(port, seconds=60):
    if not up_to(lambda: ask(port, 2)[0] == 200, seconds, 0.2):
        verdict(False, "the server did not start")


def serve(root, port, **k):
    child = start(root, "serve", "--port", str(port), **k)
    wait_ready(port)
    return child


def months(root, n=3):
    for _ in range(n):
        subprocess.run([PY, "next_month.py"], cwd=root, check=True, capture_output=True)


def cli(root, *words, timeout=60):
    return subprocess.run([EL, *words], cwd=root, capture_output=True, text=True, timeout=timeout)


def canary(root, port):
    """`up` with a rollout of churn@2 under way."""
    loop = start(root, "up")
    wait_ready(port)
    months(root)
    if not up_to(lambda: "rollout.started   " in said(loop) and "canary 2" in said(loop), 90):
        verdict(False, "no rollout began: " + said(loop)[-300:])
    up_to(lambda: ask(port)[1]["parameters"]["arm"] == "canary", 20, 0.02)
    return loop


def rss(pid):
    return next(int(l.split()[1]) for l in open(f"/proc/{pid}/status") if l.startswith("VmRSS")) / 1024
