"""The world's side of the wire: asks for predictions, and sends the true answers when flights have landed."""

from __future__ import annotations

import http.client
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
import pyarrow as pa

from everloop.errors import EverloopError
from everloop.records.models import Signature
from everloop.records.serving import Scalar


@dataclass(frozen=True, slots=True, kw_only=True)
class SentRequest:
    """One request that was answered."""

    flight_id: str
    prediction_id: str
    time: datetime


class Client:
    """One connection to a prediction server on loopback."""

    def __init__(self, url: str, model: str, signature: Signature) -> None:
        address = url.removeprefix("http://").rstrip("/")
        self._connection = http.client.HTTPConnection(address, timeout=60)
        self._model = model
        self._fields = signature.inputs
        self.sent = 0
        self.labelled = 0

    def ask(self, flight_id: str, time: datetime, row: Mapping[str, Scalar]) -> SentRequest:
        """One prediction over the Open Inference Protocol."""
        body = {
            "id": flight_id,
            "parameters": {"time": time.isoformat()},
            "inputs": [
                {"name": f.name, "shape": [1], "datatype": f.datatype.value, "data": [row[f.name]]}
                for f in self._fields
            ],
        }
        answer = self._post(f"/v2/models/{self._model}/infer", body)
        self.sent += 1
        return SentRequest(
            flight_id=flight_id, prediction_id=answer["parameters"]["prediction_id"], time=time
        )

    def label(self, labels: Sequence[tuple[str, float, datetime]]) -> None:
        """True answers by prediction id, each with the moment at which it became known."""
        sent = [{"prediction_id": id, "label": value, "time": time.isoformat()} for id, value, time in labels]
        self._post("/labels", {"labels": sent})
        self.labelled += len(labels)

    def close(self) -> None:
        """Hang up."""
        self._connection.close()

    def _post(self, path: str, body: object) -> Any:
        self._connection.request(
            "POST", path, msgspec.json.encode(body), {"Content-Type": "application/json"}
        )
        response = self._connection.getresponse()
        data = response.read()
        if response.status != 200:
            raise EverloopError(
                f"the server answered {response.status} to {path}: {data.decode()[:300]}",
                next_step="see server.log in the demo's folder.",
            )
        return msgspec.json.decode(data)


def rows_of(table: pa.Table, names: Sequence[str]) -> list[dict[str, Scalar]]:
    """Rows as the plain values that go over the wire; whole numbers that are floats with gaps stay floats."""
    return table.select(list(names)).to_pylist()  # type: ignore[no-any-return]
