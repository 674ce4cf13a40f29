"""Shared helpers of the cases: a throw-away project, the command line, a server on a free port, PASS or FAIL."""

import contextlib, http.client, json, os, pathlib, queue, shutil, signal, subprocess, sys, tempfile, textwrap, threading, time

PY = os.environ.get("EVERLOOP_PYTHON", sys.executable)
_DIRS = []


def inside():
    """Run this very file with the Python that has everloop."""
    if os.path.realpath(sys.prefix) != os.path.realpath(str(pathlib.Path(PY).parent.parent)):
        os.execv(PY, [PY, *sys.argv])


def project(source, files=None, toml="", module="proj", base=None):
    root = pathlib.Path(base or tempfile.mkdtemp(prefix="case_"))
    root.mkdir(parents=True, exist_ok=True)
    _DIRS.append(root)
    (root / "everloop.toml").write_text(f'[project]\nmodule = "{module}"\n[serving]\nport = 0\n{toml}\n')
    for name, text in {f"{module}.py": source, **(files or {})}.items():
        put(root, name, text)
    return root


def put(root, name, text):
    path = pathlib.Path(root) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(text, bytes):
        path.write_bytes(text)
    else:
        path.write_text(textwrap.dedent(text))
    return path


def cli(root, *args, timeout=180, env=None, **kw):
    full = {**os.environ, **(env or {})}
    full.pop("PYTHONPATH", None) if env is None or "PYTHONPATH" not in env else None
    return subprocess.run(
        [PY, "-m", "everloop", *map(str, args), "-C", str(root)],
        capture_output=True,
        text=True,
        timeout=timeout,
        env=full,
        **kw,
    )


def start(root, *args, env=None, **kw):
    return subprocess.Popen(
        [PY, "-m", "everloop", *map(str, args), "-C", str(root)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **(env or {})},
        **kw,
    )


def run_json(root, pipeline="flow", *params, **kw):
    done = cli(root, "run", pipeline, *[x for p in params for x in ("-p", p)], "--json", **kw)
    try:
        return done, json.loads(done.stdout.strip().splitlines()[-1])
    except (ValueError, IndexError):
        return done, None


def steps(root, run="", **kw):
    """Steps of the newest run (or one run) by name."""
    shown = cli(root, "show", *([run] if run else []), "--json", **kw)
    found = json.loads(shown.stdout)
    return {s["step"]: s for s in found["steps"]}, found


def stop(child, sig=signal.SIGTERM, patience=40):
    if child.poll() is None:
        child.send_signal(sig)
        try:
            child.wait(patience)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
    for s in (child.stdout, child.stderr):
        if s:
            s.close()


class Lines:
    """Reads a stream of JSON lines in a thread."""

    def __init__(self, child):
        self.q, self.seen = queue.Queue(), []
        threading.Thread(target=self._run, args=(child.stdout,), daemon=True).start()
        self.err = []
        threading.Thread(target=lambda: [self.err.append(l) for l in child.stderr], daemon=True).start()

    def _run(self, stream):
        try:
            for line in stream:
                self.q.put(line)
        except ValueError:
            pass

    def until(self, wanted, seconds):
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            try:
                line = self.q.get(timeout=left)
            except queue.Empty:
                return None
            try:
                got = json.loads(line)
            except ValueError:
                got = {"raw": line}
            self.seen.append(got)
            if wanted(got):
                return got
        return None


@contextlib.contextmanager
def serving(root, endpoint=None, env=None):
    child = start(root, "serve", *([endpoint] if endpoint else []), "--port", "0", "--json", env=env)
    lines = Lines(child)
    try:
        got = lines.until(lambda g: g.get("type") == "serving", 60)
        if got is None:
            raise SystemExit("server did not start: " + "".join(lines.err))
        yield got["url"].removeprefix("http://"), lines
    finally:
        stop(child)


@contextlib.contextmanager
def up(root, env=None):
    child = start(root, "up", "--json", env=env)
    lines = Lines(child)
    try:
        yield child, lines
    finally:
        stop(child)


def http_(host, method, path, body=None, headers=None, timeout=30):
    conn = http.client.HTTPConnection(host, timeout=timeout)
    try:
        if body is not None and not isinstance(body, (bytes, str)):
            body = json.dumps(body)
        conn.request(method, path, body, headers or {})
        answer = conn.getresponse()
        data = answer.read()
        try:
            return answer.status, json.loads(data)
        except ValueError:
            return answer.status, data
    finally:
        conn.close()


def verdict(ok, reason):
    print(("PASS" if ok else "FAIL") + ": " + str(reason))
    if not os.environ.get("KEEP"):
        for d in _DIRS:
            shutil.rmtree(d, ignore_errors=True)
    sys.exit(0 if ok else 1)


def oneline(text, most=400):
    return " | ".join(str(text).strip().splitlines())[:most]


# A small binary project: two numeric inputs and one category; the gate lets everything through that beats nothing.
TINY = """
import numpy as np, pyarrow as pa
from datetime import datetime, timedelta, UTC
from everloop import (AllAtOnce, Budget, Canary, Check, Dataset, Endpoint, Model, RegisteredModel, Triggers,
    error_rate, infer_signature, matrix, on_new_data, on_schedule, pipeline, quality, register, step)
from sklearn.linear_model import LogisticRegression
anything = Check("anything", lambda evaluation: (True, "yes"))
"""
