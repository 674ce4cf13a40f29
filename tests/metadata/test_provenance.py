"""Provenance: no change of code goes unnoticed, and git helps where it is there."""

import subprocess
from pathlib import Path

import pytest

from everloop.metadata.provenance import code_version, environment, who


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A small project outside of git."""
    root = tmp_path / "project"
    (root / "deep" / "er").mkdir(parents=True)
    for name in ("flow.py", "deep/help.py", "deep/er/more.py"):
        (root / name).write_text("x = 1")
    return root


def git(root: Path, *words: str) -> str:
    """Run git as somebody with no settings of their own."""
    me = ["-c", "user.name=ann", "-c", "user.email=ann@desk", "-c", "init.defaultBranch=main"]
    return subprocess.run(
        ["git", *me, *words], cwd=root, check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def repository(project: Path) -> Path:
    """The same project, committed."""
    git(project, "init")
    git(project, "add", ".")
    git(project, "commit", "-m", "first")
    return project


@pytest.mark.parametrize("name", ["flow.py", "deep/help.py", "deep/er/more.py"])
def test_any_changed_source_changes_the_digest(project: Path, name: str) -> None:
    """However deep it lies; changed back it is the same code again."""
    before = code_version(project).digest
    (project / name).write_text("x = 2")
    assert code_version(project).digest != before
    (project / name).write_text("x = 1")
    assert code_version(project).digest == before


def test_a_new_a_moved_and_a_lost_source_change_the_digest(project: Path) -> None:
    """Each to another one."""
    seen = [code_version(project).digest]
    (project / "new.py").write_text("")
    seen.append(code_version(project).digest)
    (project / "new.py").rename(project / "deep" / "new.py")
    seen.append(code_version(project).digest)
    (project / "deep" / "help.py").unlink()
    seen.append(code_version(project).digest)
    assert len(set(seen)) == 4


def test_code_behind_a_link_counts(project: Path, tmp_path: Path) -> None:
    """It can be imported, so its change must be seen; a link that leads round in a circle ends."""
    outside = tmp_path / "shared"
    outside.mkdir()
    (outside / "tool.py").write_text("y = 1")
    (project / "shared").symlink_to(outside)
    (project / "one.py").symlink_to(outside / "tool.py")
    (project / "round").symlink_to(project)
    (project / "broken.py").symlink_to(tmp_path / "nowhere")
    before = code_version(project).digest
    (outside / "tool.py").write_text("y = 2")
    assert code_version(project).digest != before


def test_what_is_no_code_of_the_project_does_not_count(project: Path) -> None:
    """Data, caches, hidden folders, and environments with thousands of other people's files."""
    before = code_version(project)
    for name in ("data.csv", ".everloop/x.py", "__pycache__/y.py", "env/pyvenv.cfg", "env/lib/z.py"):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text("new")
    assert code_version(project) == before


def test_without_git_there_is_no_commit_and_nobody_claims_the_tree_is_clean(project: Path) -> None:
    """The digest still says which code it was."""
    code = code_version(project)
    assert (code.commit, code.dirty) == (None, None)
    assert len(code.digest) == 64


def test_without_the_program_git_it_is_the_same(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container may lack it."""
    monkeypatch.setenv("PATH", "")
    assert (code_version(repository).commit, code_version(repository).dirty) == (None, None)


def test_in_a_clean_repository_the_commit_says_it_all(repository: Path) -> None:
    """A commit, and nothing beside it."""
    code = code_version(repository)
    assert (code.commit, code.dirty) == (git(repository, "rev-parse", "HEAD"), False)


def test_a_changed_tree_is_called_dirty(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Changed and new files alike; what git ignores is no change."""
    (repository / "flow.py").write_text("x = 2")
    assert code_version(repository).dirty
    git(repository, "checkout", "flow.py")
    (repository / "kept").mkdir()
    (repository / "kept" / ".gitignore").write_text("*\n")
    assert code_version(repository).dirty is False
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    assert code_version(repository).dirty is False
    monkeypatch.delenv("GIT_DIR")
    (repository / "new.txt").write_text("")
    assert code_version(repository).dirty


def test_a_project_inside_a_larger_repository_is_judged_alone(repository: Path) -> None:
    """Its neighbours' changes are not its own."""
    (repository / "flow.py").write_text("x = 2")
    assert code_version(repository / "deep").dirty is False
    assert code_version(repository / "deep").commit == code_version(repository).commit


def test_a_repository_without_a_commit(project: Path) -> None:
    """There is nothing to name yet, and everything is new."""
    git(project, "init")
    assert (code_version(project).commit, code_version(project).dirty) == (None, True)


def test_the_environment_names_every_library() -> None:
    """With its version, under one digest."""
    found = environment()
    assert {"everloop", "numpy", "pyarrow"} <= set(found.libraries)
    assert list(found.libraries) == sorted(found.libraries, key=str.lower)
    assert len(found.digest) == 64
    assert environment() is found


def test_somebody_is_always_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the machine knows no users."""
    assert "@" in who()

    def nobody() -> str:
        raise OSError("no user")

    monkeypatch.setattr("getpass.getuser", nobody)
    assert who().startswith("unknown@")
