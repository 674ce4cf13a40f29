"""Bytes by their digest: written whole or not at all, and checked on every read."""

import os
import re
import secrets
from pathlib import Path

from everloop.errors import Corrupted, InvalidInput, NotFound
from everloop.storage.codec import digest as digest_bytes

_DIGEST = re.compile(r"[0-9a-f]{64}")


class Blobs:
    """A folder of files named by the SHA-256 of their content; nothing in it is ever changed in place."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, data: bytes) -> str:
        """Keep these bytes and return their digest; when it returns they are on the disk."""
        digest = digest_bytes(data)
        path = self._path(digest)
        if not path.exists():
            self._write(path, data)
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
            raise InvalidInput(f"{digest!r} is not a digest.")
        return self.folder / digest[:2] / digest

    def _write(self, path: Path, data: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f".{path.name[:12]}.{secrets.token_hex(4)}")
        try:
            with fresh.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(fresh, path)
        finally:
            fresh.unlink(missing_ok=True)
        _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    # Without it a power cut may forget the rename although the file's bytes are safe.
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
