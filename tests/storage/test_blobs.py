"""Bytes by their digest: whole or not there, and never other bytes than were put."""

import hashlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from everloop.errors import Corrupted, InvalidInput, NotFound
from everloop.settings import Settings
from everloop.storage.blobs import Blobs
from tests.support.processes import heard, kill, start

quick = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    """An empty store."""
    return Blobs(tmp_path / "blobs")


def files(blobs: Blobs) -> list[Path]:
    """Everything that lies in the store."""
    return sorted(path for path in blobs.folder.rglob("*") if path.is_file())


@quick
@given(data=st.binary(max_size=2000))
def test_bytes_come_back_under_their_sha256(blobs: Blobs, data: bytes) -> None:
    """The name is the digest; the same bytes again are the same file."""
    digest = blobs.put(data)
    assert digest == hashlib.sha256(data).hexdigest()
    before = files(blobs)
    assert blobs.put(data) == digest
    assert files(blobs) == before
    assert blobs.get(digest) == data


@quick
@given(data=st.binary(min_size=1, max_size=300), place=st.integers(0), bit=st.integers(0, 7))
def test_a_changed_byte_is_refused_and_a_new_put_mends_it(
    blobs: Blobs, data: bytes, place: int, bit: int
) -> None:
    """No flipped bit is ever handed out; putting the true bytes again replaces the damaged file."""
    digest = blobs.put(data)
    path = blobs.folder / digest[:2] / digest
    damaged = bytearray(data)
    damaged[place % len(data)] ^= 1 << bit
    path.write_bytes(damaged)
    with pytest.raises(Corrupted, match=digest[:12]):
        blobs.get(digest)
    assert blobs.put(data) == digest
    assert blobs.get(digest) == data


@pytest.mark.parametrize(
    "name", ["", "abc", "../../etc/passwd", "A" * 64, "g" * 64, "a" * 63 + "\n", "a" * 65, "/" + "a" * 63]
)
def test_what_is_no_digest_is_refused(blobs: Blobs, name: str) -> None:
    """Nothing outside the folder can be named."""
    with pytest.raises(InvalidInput, match="not a digest"):
        blobs.get(name)


def test_what_is_not_there_is_not_found(blobs: Blobs) -> None:
    """Also before the folder exists."""
    with pytest.raises(NotFound, match="aaaaaaaaaaaa"):
        blobs.get("a" * 64)


HALF_WRITTEN = """
import os
from everloop.storage import blobs, durable

def halt(fresh, path):
    print(fresh, flush=True)
    sys.stdin.readline()

blobs.keep = halt  # everything is written, and nothing has its name yet
blobs.Blobs(place.root / "blobs").put(b"x" * 100_000)
"""


def test_a_process_killed_while_it_writes_leaves_no_blob(tmp_path: Path, blobs: Blobs) -> None:
    """What it leaves behind has no digest for a name, so nobody ever reads it; the next put succeeds."""
    process = start(Settings(root=tmp_path, module="project"), HALF_WRITTEN)
    left = Path(heard(process))
    kill(process)
    assert files(blobs) == [left]
    assert left.name.startswith(".")
    digest = hashlib.sha256(b"x" * 100_000).hexdigest()
    with pytest.raises(NotFound):
        blobs.get(digest)
    assert blobs.put(b"x" * 100_000) == digest
    assert blobs.get(digest) == b"x" * 100_000


def test_a_put_that_fails_leaves_nothing(blobs: Blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk is told as it is, and takes no name."""

    def full(fresh: Path, path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("everloop.storage.blobs.keep", full)
    with pytest.raises(OSError, match="No space"):
        blobs.put(b"x")
    assert files(blobs) == []


@quick
@given(pieces=st.lists(st.binary(max_size=500)))
def test_what_is_written_in_pieces_is_the_blob_of_all_of_them(blobs: Blobs, pieces: list[bytes]) -> None:
    """The same digest and the same file as if they had been put at once, and it can be read in pieces, too."""
    with blobs.writing() as blob:
        for piece in pieces:
            blob.write(piece)
    whole = b"".join(pieces)
    assert (blob.digest, blob.size) == (hashlib.sha256(whole).hexdigest(), len(whole))
    before = files(blobs)
    assert blobs.put(whole) == blob.digest
    assert files(blobs) == before
    with blobs.reading(blob.digest) as file:
        assert file.read() == whole


def test_a_blob_that_is_not_finished_is_none(blobs: Blobs) -> None:
    """Whatever goes wrong while it is written leaves nothing."""
    with pytest.raises(RuntimeError, match="half"), blobs.writing() as blob:
        blob.write(b"half")
        raise RuntimeError("half")
    assert files(blobs) == []


def test_changed_bytes_are_refused_before_anybody_reads_one(blobs: Blobs) -> None:
    """The file is read through first."""
    digest = blobs.put(b"x" * 100_000)
    (blobs.folder / digest[:2] / digest).write_bytes(b"x" * 99_999 + b"y")
    with pytest.raises(Corrupted, match=digest[:12]), blobs.reading(digest):
        pytest.fail("it was handed out")
