"""Bytes by their digest: written whole or not at all, and checked on every read."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from everloop.errors import Corrupted, InvalidInput, NotFound
from everloop.storage.codec import digest as digest_bytes
from everloop.storage.durable import fresh_name, keep, make_folder, sync

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_DIGEST = re.compile(r"[0-9a-f]{64}")


class BlobWriter(io.RawIOBase):
    """A blob that is being made: hashed as it is written, so that nobody need hold all of it."""

    def __init__(self, file: io.BufferedWriter) -> None:
        self._file = file
        self._hash = hashlib.sha256()
        self.size = 0

    @property
    def digest(self) -> str:
        """Of what was written so far."""
        return self._hash.hexdigest()

    def writable(self) -> bool:
        """It is, and it can be nothing else."""
        return True

    def write(self, data: ReadableBuffer, /) -> int:
        """Add these bytes."""
        self._hash.update(data)
        written = self._file.write(data)
        self.size += written
        return written


class Blobs:
    """A folder of files named by the SHA-256 of their content; nothing in it is ever changed in place."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, data: bytes) -> str:
        """Keep these bytes and return their digest; when it returns they are on the disk, whole."""
        digest = digest_bytes(data)
        if self._is_kept(digest):
            return digest
        with self.writing() as blob:
            blob.write(data)
        return digest

    @contextmanager
    def writing(self) -> Iterator[BlobWriter]:
        """A new blob, written piece by piece; when the block ends it is on the disk under its digest, whole."""
        make_folder(self.folder)
        fresh = fresh_name(self.folder / "blob")
        try:
            with fresh.open("wb") as file:
                blob = BlobWriter(file)
                yield blob
            if not self._is_kept(blob.digest):
                path = self._path(blob.digest)
                make_folder(path.parent)
                keep(fresh, path)
        finally:
            fresh.unlink(missing_ok=True)

    def get(self, digest: str) -> bytes:
        """The bytes of this digest; bytes that changed on the disk are refused."""
        with self._open(digest) as file:
            data = file.read()
        if digest_bytes(data) != digest:
            raise self._changed(digest)
        return data

    @contextmanager
    def reading(self, digest: str) -> Iterator[io.BufferedReader]:
        """The same as an open file, read through once before anybody has it, so that nobody need hold all of it."""
        with self._open(digest) as file:
            if _digest_file(file) != digest:
                raise self._changed(digest)
            file.seek(0)
            yield file

    def _open(self, digest: str) -> io.BufferedReader:
        try:
            return self._path(digest).open("rb")
        except FileNotFoundError:
            raise NotFound(
                f"artifact {digest[:12]} is not in {self.folder}.",
                next_step="restore the folder from a backup.",
            ) from None

    def _changed(self, digest: str) -> Corrupted:
        return Corrupted(
            f"artifact {digest[:12]} in {self.folder} was changed on the disk.",
            next_step="restore the file from a backup, or delete it and run the pipeline again.",
        )

    def _is_kept(self, digest: str) -> bool:
        """Whether the file is there and is what its name says; one that was damaged is written anew."""
        path = self._path(digest)
        try:
            with path.open("rb") as file:
                is_whole = _digest_file(file) == digest
        except FileNotFoundError:
            return False
        if is_whole:
            sync(path.parent)  # whoever wrote it may have died before the name was safe
        return is_whole

    def _path(self, digest: str) -> Path:
        if not _DIGEST.fullmatch(digest):
            raise InvalidInput(
                f"{digest!r} is not a digest.", next_step="give the 64 hexadecimal digits of one."
            )
        return self.folder / digest[:2] / digest


def _digest_file(file: io.BufferedReader) -> str:
    return hashlib.file_digest(file, "sha256").hexdigest()
