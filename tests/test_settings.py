"""everloop.toml: every key has a default, and nothing in it is ignored or guessed."""

from pathlib import Path

import pytest

from everloop.errors import ProjectError
from everloop.settings import Settings, Storage, find_root, load_settings

WHOLE = """
[project]
module = "flights"

[storage]
folder = "kept/here"
database = "postgresql://me@host/db"

[clock]
file = "clock"

[trust]
pickle = ["old"]
skops = ["a.B", "c.D"]

[serving]
host = "0.0.0.0"
port = 0

[worker]
poll_seconds = 2
"""


def written(folder: Path, text: str) -> Path:
    """A folder with this everloop.toml."""
    (folder / "everloop.toml").write_text(text, encoding="utf-8")
    return folder


def test_a_name_is_enough(tmp_path: Path) -> None:
    """Everything else has a default."""
    assert load_settings(written(tmp_path, '[project]\nmodule = "flights"')) == Settings(
        root=tmp_path, module="flights"
    )


def test_every_key_is_read(tmp_path: Path) -> None:
    """A whole number where a number is wanted is one."""
    found = load_settings(written(tmp_path, WHOLE))
    assert (found.module, found.root) == ("flights", tmp_path)
    assert found.folder == tmp_path / "kept" / "here"
    assert found.storage == Storage(folder="kept/here", database="postgresql://me@host/db")
    assert (found.clock.file, found.trust.pickle, found.trust.skops) == ("clock", ("old",), ("a.B", "c.D"))
    assert (found.serving.host, found.serving.port, found.worker.poll_seconds) == ("0.0.0.0", 0, 2.0)
    assert isinstance(found.worker.poll_seconds, float)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "a section [project] is needed"),
        ("project = 3", "project must be a section"),
        ("[project]", "[project] needs module"),
        ("[project]\nmodule = 3", "[project] needs module"),
        ('[project]\nmodule = "my-module"', "[project] needs module"),
        ('[project]\nmodule = "class"', "[project] needs module"),
        ('[project]\nmodule = "m"\nname = "x"', "[project] has no name"),
        ('[project]\nmodule = "m"\n[stroage]\nfolder = "x"', "the file has no stroage"),
        ('debug = true\n[project]\nmodule = "m"', "the file has no debug"),
        ('[project]\nmodule = "m"\n[storage]\nfoldr = "x"\nz = 1', "[storage] has no foldr, z"),
        ('storage = "x"\n[project]\nmodule = "m"', "storage must be a section"),
        ('[project]\nmodule = "m"\n[storage]\nfolder = 3', "[storage] folder is 3; it must be a text"),
        ('[project]\nmodule = "m"\n[storage]\nfolder = ""', "[storage] folder is empty"),
        ('[project]\nmodule = "m"\n[clock]\nfile = false', "[clock] file is False; it must be a text"),
        (
            '[project]\nmodule = "m"\n[trust]\npickle = "p"',
            "[trust] pickle is 'p'; it must be a list of texts",
        ),
        ('[project]\nmodule = "m"\n[trust]\nskops = [1]', "[trust] skops is [1]; it must be a list of texts"),
        (
            '[project]\nmodule = "m"\n[serving]\nport = "80"',
            "[serving] port is '80'; it must be a whole number",
        ),
        (
            '[project]\nmodule = "m"\n[serving]\nport = true',
            "[serving] port is True; it must be a whole number",
        ),
        (
            '[project]\nmodule = "m"\n[serving]\nport = 80.0',
            "[serving] port is 80.0; it must be a whole number",
        ),
        (
            '[project]\nmodule = "m"\n[serving]\nport = 70000',
            "[serving] port is 70000; it must be 0 to 65535",
        ),
        ('[project]\nmodule = "m"\n[serving]\nport = -1', "[serving] port is -1"),
        (
            '[project]\nmodule = "m"\n[worker]\npoll_seconds = "1"',
            "[worker] poll_seconds is '1'; it must be a number",
        ),
        ('[project]\nmodule = "m"\n[worker]\npoll_seconds = true', "[worker] poll_seconds is True"),
        (
            '[project]\nmodule = "m"\n[worker]\npoll_seconds = 0',
            "[worker] poll_seconds is 0; it must be above 0",
        ),
        ('[project]\nmodule = "m"\n[worker]\npoll_seconds = nan', "[worker] poll_seconds is nan"),
        ('[project]\nmodule = "m"\n[worker]\npoll_seconds = inf', "[worker] poll_seconds is inf"),
        ("[project\n", "is not valid TOML"),
    ],
)
def test_whatever_is_wrong_is_refused_by_name(tmp_path: Path, text: str, told: str) -> None:
    """A wrong key, type or value; the reason names the place, and nothing is ignored."""
    with pytest.raises(ProjectError) as refused:
        load_settings(written(tmp_path, text))
    assert told in str(refused.value)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    """With the file's name."""
    (tmp_path / "everloop.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ProjectError, match=r"everloop\.toml is not valid TOML"):
        load_settings(tmp_path)


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    """Whatever stands in the way."""
    with pytest.raises(ProjectError, match="does not exist"):
        load_settings(tmp_path)
    (tmp_path / "everloop.toml").mkdir()
    with pytest.raises(ProjectError, match="cannot be read"):
        load_settings(tmp_path)


def test_the_nearest_project_is_found_from_below(tmp_path: Path) -> None:
    """As git does it; a folder of that name is no project."""
    deep = tmp_path / "a" / "b" / "c"
    deep.mkdir(parents=True)
    written(tmp_path, "")
    assert find_root(deep) == tmp_path
    written(tmp_path / "a" / "b", "")
    assert find_root(deep) == tmp_path / "a" / "b"
    (deep / "everloop.toml").mkdir()
    assert find_root(deep) == tmp_path / "a" / "b"


def test_no_project_anywhere_says_what_to_do(tmp_path: Path) -> None:
    """The way out is named."""
    with pytest.raises(ProjectError, match="everloop init"):
        find_root(tmp_path)
