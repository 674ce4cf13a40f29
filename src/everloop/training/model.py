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
from everloop.training.flavors import Predict, flavor_of, load


@dataclass(frozen=True, eq=False)
class Model:
    """An estimator and what it takes; `trained_until` is the newest moment that training has seen.

    Takes LightGBM boosters, scikit-learn classifiers and regressors, and ONNX models.
    """

    estimator: object
    signature: Signature
    trained_until: datetime | None = None
    facts: Mapping[str, Json] = field(default_factory=dict)
    flavor: str = field(init=False)
    _predict: Predict = field(init=False, repr=False)
    _plan: RowPlan = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.trained_until is not None and self.trained_until.tzinfo is None:
            raise InvalidInput("trained_until has no time zone.", next_step="give it one, such as UTC.")
        flavor = flavor_of(self.estimator)
        _refuse_other_width(flavor.width(self.estimator), len(self.signature.inputs))
        object.__setattr__(self, "flavor", flavor.name)
        object.__setattr__(self, "_predict", flavor.predict(self.estimator))
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
        oldest = _oldest(rows, time)
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
        if not len(filled):
            return np.empty(0)
        return np.asarray(self._predict(filled), dtype=np.float64).reshape(len(filled))


def _refuse_other_width(takes: int | None, given: int) -> None:
    if takes not in (None, given):
        raise InvalidInput(
            f"the estimator was fitted on {takes} columns and its signature has {given} inputs.",
            next_step="fit it on matrix(signature, rows).",
        )


def _oldest(rows: pa.Table, time: str) -> datetime | None:
    """The oldest time of the rows; None when there are no rows."""
    if time not in rows.column_names:
        raise InvalidInput(f"there is no time column {time!r} among {', '.join(rows.column_names)}.")
    times = rows[time]
    if not pa.types.is_timestamp(times.type) or times.type.tz is None:
        raise InvalidInput(f"{time} is of type {times.type}; it must be a time with a time zone.")
    if times.null_count:
        raise InvalidInput(
            f"{times.null_count} rows have no {time}, so nobody knows whether training has seen them."
        )
    oldest: datetime | None = pc.min(pc.cast(times, pa.timestamp("us", "UTC"), safe=False)).as_py()
    return oldest


class _Manifest(msgspec.Struct, frozen=True):
    """The one file that names all others by digest; its own digest names the model."""

    flavor: str
    files: dict[str, str]
    signature: Signature
    trained_until: datetime | None
    facts: dict[str, object]


def save_model(blobs: Blobs, model: Model) -> str:
    """Keep every file of the model, then the manifest that names them; returns the manifest's digest.

    Equal models have equal digests, whichever process saves them.
    """
    flavor = flavor_of(model.estimator)
    files = {flavor.file: blobs.put(flavor.write(model.estimator))}
    manifest = _Manifest(flavor.name, files, model.signature, model.trained_until, dict(model.facts))
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
