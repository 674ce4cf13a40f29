"""Bytes by their digest: written whole or not at all, and checked on every read."""

import re
from pathlib import Path

from everloop.errors import Corrupted, InvalidInput, NotFound
from everloop.storage.codec import digest as digest_bytes
from everloop.storage.durable import fresh_name, keep, make_folder, sync

_DIGEST = re.compile(r"[0-9a-f]{64}")


class Blobs:
    """A folder of files named by the SHA-256 of their content; nothing in it is ever changed in place."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, data: bytes) -> str:
        """Keep these bytes and return their digest; when it returns they are on the disk, whole."""
        digest = digest_bytes(data)
        path = self._path(digest)
        if _holds(path, digest):
            sync(path.parent)  # whoever wrote it may have died before the name was safe
        else:
            _write(path, data)
        return digest

    def get(self, digest: str) -> bytes:
        """The bytes of this digest; bytes that changed on the disk are refused."""
        try:
            data = self._path(digest).read_bytes()
        except FileNotFoundError:
            raise NotFound(
                f"artifact {digest[:12]} is not in {self.folder}.",
                next_step="restore the folder from a backup.",
            ) from None
        if digest_bytes(data) != digest:
            raise Corrupted(
                f"artifact {digest[:12]} in {self.folder} was changed on the disk.",
                next_step="restore the file from a backup, or delete it and run the pipeline again.",
            )
        return data

    def _path(self, digest: str) -> Path:
        if not _DIGEST.fullmatch(digest):
            raise InvalidInput(
                f"{digest!r} is not a digest.", next_step="give the 64 hexadecimal digits of one."
            )
        return self.folder / digest[:2] / digest


def _holds(path: Path, digest: str) -> bool:
    """Whether the file is there and is what its name says; one that was damaged is written anew."""
    try:
        return digest_bytes(path.read_bytes()) == digest
    except FileNotFoundError:
        return False


def _write(path: Path, data: bytes) -> None:
    make_folder(path.parent)
    fresh = fresh_name(path)
    try:
        fresh.write_bytes(data)
        keep(fresh, path)
    finally:
        fresh.unlink(missing_ok=True)
