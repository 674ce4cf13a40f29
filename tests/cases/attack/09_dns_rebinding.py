"""A page of evil.example whose name was re-bound to 127.0.0.1 sends Host and Origin of its own: must be refused."""

from _h import *

root, port = project()
serve(root, port)
h = {"Host": f"evil.example:{port}", "Origin": f"http://evil.example:{port}", "Content-Type": "text/plain"}
label, _ = post(port, "/labels", {"prediction_id": "rebound", "label": 1}, headers=h)
predict, _ = post(port, "/v1/models/churn:predict", {"instances": [list(ROWS.values())]}, headers=h)
verdict(
    label in (400, 403, 421) and predict in (400, 403, 421),
    f"loopback server, foreign Host: POST /labels {label}, predict {predict}",
)
