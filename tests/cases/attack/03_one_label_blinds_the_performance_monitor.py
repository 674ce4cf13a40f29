"""One label of 7 among 200: the whole window is `cannot be evaluated`, so decay is never seen. (/labels takes it with 200.)"""

from _h import *
from everloop.errors import EverloopError
from everloop.monitoring.performance import performance
from everloop.serving.labels import read_labels
from datetime import datetime, UTC

try:
    read_labels(b'{"prediction_id":"p","label":7}', lambda: datetime.now(UTC))
    taken = True
except EverloopError:
    taken = False
try:
    seen = performance([0.2, 0.9] * 100, [0, 1] * 99 + [0, 7], predictions=200).metrics.get("log_loss")
    why = ""
except EverloopError as error:
    seen, why = None, str(error)
verdict(not taken or seen is not None, f"/labels takes 7: {taken}; the window of 200 then: {why or seen}")
