"""A fitted estimator together with its signature: what training makes and the server answers with."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from everloop.errors import Corrupted, InvalidInput
from everloop.records.json import Json
from everloop.records.models import Signature
from everloop.registry.signatures import Columns, RowPlan, matrix
from everloop.settings import Trust
from everloop.storage.blobs import Blobs
from everloop.storage.codec import dumps, loads
from everloop.training.flavors import Predict, dump, load


@dataclass(frozen=True, eq=False)
class Model:
    """An estimator and what it takes; `trained_until` is the newest moment that training has seen.

    Takes LightGBM boosters, scikit-learn estimators and ONNX models.
    """

    estimator: object
    signature: Signature
    trained_until: datetime | None = None
    facts: Mapping[str, Json] = field(default_factory=dict)
    _predict: Predict = field(init=False, repr=False)
    _plan: RowPlan = field(init=False, repr=False)
    flavor: str = field(init=False)
    _files: Mapping[str, bytes] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        flavor, files, predict = dump(self.estimator)
        object.__setattr__(self, "flavor", flavor)
        object.__setattr__(self, "_files", files)
        object.__setattr__(self, "_predict", predict)
        object.__setattr__(self, "_plan", RowPlan(self.signature))

    def predict(self, rows: pa.Table) -> np.ndarray:
        """Scores of shape (rows,), float64; for a classifier the probability of the second class."""
        return self._scores(matrix(self.signature, rows))

    def predict_unseen(self, rows: pa.Table, *, time: str) -> np.ndarray:
        """Scores of rows that training has not seen, for an honest evaluation.

        Raises InvalidInput when a row is not newer than `trained_until`, or nobody knows until when it was trained.
        """
        if self.trained_until is None:
            raise InvalidInput(
                "nobody knows until when this model was trained; give Model(…, trained_until=…)."
            )
        oldest = pc.min(rows[time]).as_py()
        if oldest is not None and oldest <= self.trained_until:
            raise InvalidInput(
                f"rows from {oldest.isoformat()} on were seen by training, which went until "
                f"{self.trained_until.isoformat()}; a model is not judged on them."
            )
        return self.predict(rows)

    def infer(self, columns: Columns) -> np.ndarray:
        """The same from plain values by column, as the server has them."""
        return self._scores(self._plan.matrix(columns))

    def _scores(self, filled: np.ndarray) -> np.ndarray:
        return np.asarray(self._predict(filled), dtype=np.float64).reshape(len(filled))


class _Manifest(msgspec.Struct, frozen=True):
    """The one file that names all others by digest; its own digest names the model."""

    flavor: str
    files: dict[str, str]
    signature: Signature
    trained_until: datetime | None
    facts: dict[str, object]


def save_model(blobs: Blobs, model: Model) -> str:
    """Keep every file of the model, then the manifest that names them; returns the manifest's digest."""
    files = {name: blobs.put(data) for name, data in model._files.items()}
    manifest = _Manifest(model.flavor, files, model.signature, model.trained_until, dict(model.facts))
    return blobs.put(dumps(manifest))


def load_model(blobs: Blobs, digest: str, *, trust: Trust) -> Model:
    """Load a model by its manifest's digest; every file is checked before its first byte is parsed.

    Raises Corrupted for changed bytes and Refused for a type that is not trusted.
    """
    manifest = loads(_Manifest, blobs.get(digest))
    files = {name: blobs.get(kept) for name, kept in manifest.files.items()}
    estimator = load(manifest.flavor, files, trust=trust)
    model = Model(estimator, manifest.signature, manifest.trained_until, manifest.facts)  # type: ignore[arg-type]
    if model.flavor != manifest.flavor:
        raise Corrupted(f"model {digest[:12]} says it is {manifest.flavor} and holds {model.flavor}.")
    return model
