"""Model files whose bytes are well-formed for the container and hostile inside: loading and asking once must refuse, not crash or hang.

(Today such a file can only come through code of the project or from who can write the registry; imports will open the door.)"""

import io, re, resource, zipfile
from _h import *
import lightgbm as lgb, numpy as np, skops.io as sio
from sklearn.tree import DecisionTreeClassifier

CHILD = """
import sys, numpy as np, resource
resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))
from everloop.models.flavors import load, FLAVORS
from everloop.settings import Trust
f = {x.name: x for x in FLAVORS}[sys.argv[1]]; e = load(f.name, {f.file: open(sys.argv[2], "rb").read()}, trust=Trust()); f.predict(e)(np.full((1, 5), 1.5))
"""
X = np.random.RandomState(0).rand(400, 5)
y = (X[:, 0] > 0.5).astype(int)
text = lgb.train(
    {"objective": "binary", "verbosity": -1, "num_leaves": 7}, lgb.Dataset(X, y), num_boost_round=3
).model_to_string()
sub = lambda k, v: re.sub(rf"(?m)^{k}=.*$", f"{k}={v}", text, count=1).encode()
tree = sio.dumps(DecisionTreeClassifier(max_depth=3, random_state=0).fit(X, y))


def patched(field, value):
    out = io.BytesIO()
    source = zipfile.ZipFile(io.BytesIO(tree))
    with zipfile.ZipFile(out, "w") as z:
        for n in source.namelist():
            d = source.read(n)
            if n.endswith(".npy"):
                a = np.load(io.BytesIO(d)).copy()
                if a.dtype.names and field in a.dtype.names:
                    a[field][0] = value
                q = io.BytesIO()
                np.save(q, a)
                d = q.getvalue()
            z.writestr(n, d)
    return out.getvalue()


def bomb():
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as z, z.open("schema.json", "w") as f:
        for _ in range(1500):
            f.write(b" " * (1 << 20))
    return out.getvalue()


FILES = [
    ("lightgbm", "benign", text.encode()),
    ("lightgbm", "num_leaves huge", sub("num_leaves", "2000000000")),
    ("lightgbm", "tree_sizes wrong", sub("tree_sizes", "1 999999999 3")),
    ("lightgbm", "truncated", text.encode()[: len(text) // 3]),
    (
        "lightgbm",
        "no trees per iteration",
        re.sub(r"num_tree_per_iteration=\d+", "num_tree_per_iteration=0", text).encode(),
    ),
    ("sklearn", "benign", tree),
    ("sklearn", "left_child 10**9", patched("left_child", 10**9)),
    ("sklearn", "feature 10**9", patched("feature", 10**9)),
    ("sklearn", "left_child 0 (cycle)", patched("left_child", 0)),
    ("sklearn", "zip bomb 1.5 GB", bomb()),
]
bad = []
for flavor, name, data in FILES:
    path = Path(tempfile.mkdtemp()) / "m"
    path.write_bytes(data)
    try:
        rc = subprocess.run(
            [PY, "-W", "ignore", "-c", CHILD, flavor, str(path)], capture_output=True, timeout=25
        ).returncode
    except subprocess.TimeoutExpired:
        rc = "hangs 25 s"
    if rc not in (0, 1):
        bad.append(f"{flavor} {name}: {rc}")
verdict(not bad, f"{len(FILES) - 2} hostile files, {len(bad)} end or hang the process: {'; '.join(bad)}")
