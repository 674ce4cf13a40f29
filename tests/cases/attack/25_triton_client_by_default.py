"""tritonclient[http] as its own examples use it: binary inputs (the default) and binary outputs (the default). TRITON=a Python with tritonclient."""

from _h import *

triton = os.environ.get("TRITON", PY)
if subprocess.run([triton, "-c", "import tritonclient.http"], capture_output=True).returncode:
    lack("a Python with tritonclient[http] (TRITON=its path)")
root, port = project()
serve(root, port)
code = f"""
import numpy as np, tritonclient.http as h
c = h.InferenceServerClient("127.0.0.1:{port}")
def ins(binary):
    out = []
    for n, v, d, t in (("plan", ["basic"], "BYTES", object), ("price", [12.0], "FP64", float), ("months", [3], "INT64", int), ("visits", [1], "INT64", int), ("tickets", [2], "INT64", int)):
        i = h.InferInput(n, [1], d); i.set_data_from_numpy(np.array(v, dtype=t), binary_data=binary); out.append(i)
    return out
for name, f in (("binary in", lambda: c.infer("churn", ins(True))), ("JSON in, default outputs", lambda: c.infer("churn", ins(False)))):
    try: f().as_numpy("left"); print(name, "works")
    except Exception as e: print(name, "FAILS", str(e)[:90])
"""
r = subprocess.run([triton, "-c", code], capture_output=True, text=True)
verdict(
    "FAILS" not in r.stdout and r.returncode == 0, "; ".join(r.stdout.split("\n")[:-1]) or r.stderr[-200:]
)
