"""Keep a model in the blobs and load it again: one manifest names every file by its digest."""

from __future__ import annotations

from datetime import datetime

import msgspec

from everloop.errors import Corrupted
from everloop.models.flavors import flavor_of, load
from everloop.models.model import Model
from everloop.records.models import FeaturePin, Signature
from everloop.settings import Trust
from everloop.storage.blobs import Blobs
from everloop.storage.codec import digest as digest_bytes
from everloop.storage.codec import dumps, loads


class _Manifest(msgspec.Struct, frozen=True):
    """The one file that names all others by digest; its own digest names the model.

    What has a default was added after 0.1, whose manifests can still be read.
    """

    flavor: str
    files: dict[str, str]
    signature: Signature
    trained_until: datetime | None
    facts: dict[str, object]
    label: str | None = None
    time: str | None = None
    features: FeaturePin | None = None


def save_model(blobs: Blobs, model: Model) -> str:
    """Keep every file of the model, then the manifest that names them; returns the manifest's digest.

    Equal models have equal digests, whichever process saves them.
    """
    return blobs.put(write_files(blobs, model))


def write_files(blobs: Blobs, model: Model) -> bytes:
    """Keep every file of the model; returns the manifest that names them, which is the caller's to keep."""
    flavor = flavor_of(model.estimator)
    manifest = _Manifest(
        flavor=flavor.name,
        files={flavor.file: blobs.put(flavor.write(model.estimator))},
        signature=model.signature,
        trained_until=model.trained_until,
        facts=dict(model.facts),
        label=model.label,
        time=model.time,
        features=model.features,
    )
    return dumps(manifest)


def load_model(blobs: Blobs, digest: str, *, trust: Trust) -> Model:
    """Load a model by its manifest's digest; every file is checked before its first byte is parsed.

    Raises Corrupted for changed bytes and Refused for a type that is not trusted.
    """
    return read_manifest(blobs.get(digest), blobs, trust=trust)


def read_manifest(data: bytes, blobs: Blobs, *, trust: Trust) -> Model:
    """The model that a manifest names the files of."""
    manifest = loads(_Manifest, data)
    files = {name: blobs.get(kept) for name, kept in manifest.files.items()}
    model = Model(
        load(manifest.flavor, files, trust=trust),
        manifest.signature,
        trained_until=manifest.trained_until,
        label=manifest.label,
        time=manifest.time,
        features=manifest.features,
        facts=manifest.facts,  # type: ignore[arg-type]
    )
    if model.flavor != manifest.flavor:
        raise Corrupted(
            f"model {digest_bytes(data)[:12]} says it is {manifest.flavor} and holds {model.flavor}.",
            next_step="restore the artifacts from a backup.",
        )
    return model
