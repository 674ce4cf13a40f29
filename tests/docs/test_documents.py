"""Every code block of every document runs, so that what a reader copies works.

A `python` block is executed, or, written with `>>>`, its answers are compared. Of a `console` block the lines after
`$ ` are given to a shell (`> ` goes on with a line), and where output is shown it must come, `…` standing for
anything. A `toml` block is a whole `everloop.toml`. The blocks of a document run in their order, in one scratch
folder, one shell and one namespace. A `text` block is a picture. A block that cannot run here says `not-run`.
"""

import doctest
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import click
import pytest

from everloop import Pipeline
from everloop.app import cli
from everloop.settings import Settings, load_settings

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
ROOMS = {path.name for path in (ROOT / "src/everloop").iterdir() if path.is_dir()} - {"__pycache__"}
KINDS = ("python", "console", "toml", "text")
MAY_NOT_RUN = re.compile(
    r"git clone \S+ everloop|cd everloop|make [a-z]+( PYTHON=python3\.\d+)?|pip install \S+|\.ci/run"
)
"""What needs a clone, an index of packages, or minutes."""
EXCERPT = "# examples/flights/flights.py\n"
PORT = "8080"
SECONDS = 180.0
_FENCE = re.compile(r"^(?P<indent> *)```(?P<info>[^\n`]*)\n(?P<body>.*?)^(?P=indent)```$", re.M | re.S)
_END = re.compile(r"<the end of it: (\d+)>\n")


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block of a document."""

    kind: str
    runs: bool
    text: str
    line: int


@dataclass(frozen=True, slots=True)
class Command:
    """One command of a console block, and the output that is shown below it."""

    text: str
    shown: str


def blocks(document: Path) -> list[Block]:
    """Every fenced block, in order."""
    text = document.read_text(encoding="utf-8")
    found = []
    for match in _FENCE.finditer(text):
        kind, _, word = match["info"].partition(" ")
        assert word in ("", "not-run"), f"{document.name}: nothing is known of {word!r}"
        line = text.count("\n", 0, match.start()) + 1
        found.append(Block(kind, not word, textwrap.dedent(match["body"]), line))
    assert len(re.findall(r"^ *```", text, re.M)) == 2 * len(found), f"{document.name}: a fence is not closed"
    return found


def commands(block: Block) -> list[Command]:
    """The commands of a console block, each with its output."""
    found: list[Command] = []
    for line in block.text.splitlines():
        if line.startswith("$ "):
            found.append(Command(line[2:], ""))
        elif line.startswith("> ") and not found[-1].shown:
            found[-1] = Command(f"{found[-1].text}\n{line[2:]}", "")
        else:
            found[-1] = Command(found[-1].text, f"{found[-1].shown}{line}\n")
    return found


def plain(output: str) -> str:
    """Output without what a reader does not see: spaces at the ends of lines, and how many of them fill a column."""
    return "\n".join(" ".join(line.split()) for line in output.strip().splitlines())


def like(shown: str, *, whole_lines: bool = False) -> re.Pattern[str]:
    """A pattern for output as a document shows it; any space may be several, to fill a column."""
    pattern = re.escape(plain(shown)).replace("\\ ", " +").replace("…", ".*?")
    return re.compile(f"({pattern})" + r" *\n" * whole_lines, re.S)


class Shell:
    """One shell for one document: folders, variables and servers last from block to block."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = _free_port()
        self._said = ""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self._process = subprocess.Popen(
            ["bash"],
            cwd=folder,
            env=os.environ | {"PATH": path, "COLUMNS": "200", "TERM": "dumb"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def run(self, command: Command) -> None:
        """Give it a command; a wrong output or a code other than 0 fails the test."""
        # Somebody may use the documents' port on this machine, so a free one stands in for it everywhere.
        text, shown = (part.replace(PORT, self._port) for part in (command.text, command.shown))
        assert self._process.stdin is not None
        self._process.stdin.write(f'{text}\nprintf "<the end of it: %d>\\n" $?\n'.encode())
        self._process.stdin.flush()
        said, code = self._until(_END, text)
        if text.endswith("&"):
            self._until(like(shown, whole_lines=bool(shown)), text)
        else:
            assert code == "0", f"`{text}` ended with {code}:\n{said}"
            assert not shown or like(shown).fullmatch(plain(said)), (
                f"`{text}` said:\n{said}\nand not:\n{shown}"
            )
        for settings in self._folder.glob("*/everloop.toml"):
            settings.write_text(settings.read_text().replace(PORT, self._port))

    def close(self) -> None:
        """End it and everything that it started."""
        os.killpg(self._process.pid, signal.SIGTERM)
        try:
            self._process.communicate(timeout=30)  # ends when the last of them has let go of the output
        finally:
            if self._process.poll() is None:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()

    def _until(self, end: re.Pattern[str], command: str) -> tuple[str, str]:
        """What it says up to this end, and what the end's group holds; what comes after is kept for the next time."""
        assert self._process.stdout is not None
        limit = time.monotonic() + SECONDS
        while (found := end.search(self._said)) is None:
            ready, _, _ = select.select([self._process.stdout], [], [], max(0.0, limit - time.monotonic()))
            assert ready, f"`{command}` has not ended after {SECONDS:g} s; it said:\n{self._said}"
            chunk = os.read(self._process.stdout.fileno(), 1 << 16)
            assert chunk, f"the shell ended in `{command}`:\n{self._said}"
            self._said += chunk.decode(errors="replace")
        said, self._said = self._said[: found.start()], self._said[found.end() :]
        return said, found[1]


@contextmanager
def shell(folder: Path) -> Iterator[Shell]:
    """A shell for the length of a block."""
    opened = Shell(folder)
    try:
        yield opened
    finally:
        opened.close()


def _free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def run_python(block: Block, namespace: dict[str, object], where: str) -> None:
    """Execute a block; of an excerpt from the example, in the example's own namespace."""
    if block.text.startswith(EXCERPT):
        run_excerpt(block.text.removeprefix(EXCERPT), where)
    elif block.text.startswith(">>> "):
        test = doctest.DocTestParser().get_doctest(block.text, namespace, where, where, block.line)
        result = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, clear_globs=False)
        namespace |= test.globs
        assert result.failed == 0, f"{where}: an answer is not the one that is shown; see above"
    else:
        exec(compile(block.text, where, "exec"), namespace)  # noqa: S102 - our own documents


def run_excerpt(text: str, where: str) -> None:
    """The lines stand in the example, in this order, and work there."""
    example = ROOT / EXCERPT.removeprefix("# ").strip()
    rest = iter(example.read_text(encoding="utf-8").splitlines())
    for line in text.splitlines():
        assert not line or line in rest, (
            f"{where}: this line is not, or no longer, in {example.name}:\n{line}"
        )
    spec = spec_from_file_location("flights_of_the_documents", example)
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    exec(compile(text, where, "exec"), vars(module))  # noqa: S102 - our own example
    for value in vars(module).values():
        if isinstance(value, Pipeline):
            assert value.graph.nodes


def check_settings(block: Block, folder: Path) -> None:
    """A whole everloop.toml, with every setting that there is, each with its default."""
    folder.mkdir(exist_ok=True)
    (folder / "everloop.toml").write_text(block.text)
    shown = load_settings(folder)
    assert shown == Settings(root=shown.root, module=shown.module)
    sections = [
        value for value in (getattr(shown, part.name) for part in fields(shown)) if is_dataclass(value)
    ]
    for name in [setting.name for section in sections for setting in fields(section)]:
        assert re.search(rf"^{name} = ", block.text, re.M), f"the setting {name} is not shown"


@pytest.fixture
def modules_of_a_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A reader's Python has imported no project before, and what it imports stays there."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.delitem(sys.modules, "churn", raising=False)
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if (getattr(sys.modules[name], "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.mark.usefixtures("modules_of_a_reader")
@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_block_runs(document: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a document shows can be copied and works, and says what the document says."""
    runnable = [block for block in blocks(document) if block.runs and block.kind != "text"]
    if any("curl" in block.text for block in runnable) and shutil.which("curl") is None:
        pytest.skip("this machine has no curl")
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {"__name__": document.stem}
    with shell(tmp_path) as opened:
        for block in runnable:
            where = f"{document.relative_to(ROOT)}:{block.line}"
            if block.kind == "python":
                run_python(block, namespace, where)
            elif block.kind == "toml":
                check_settings(block, tmp_path / "settings")
            for command in commands(block) if block.kind == "console" else ():
                opened.run(command)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_block_is_left_out_only_for_a_known_reason(document: Path) -> None:
    """Only what needs a clone, a package index or minutes is not run, and no block is of a kind that nobody looks at."""
    for block in blocks(document):
        assert block.kind in KINDS, f"{document.name}:{block.line}: a {block.kind or 'nameless'} block"
        assert block.runs or block.kind == "console", f"{document.name}:{block.line}: it can run"
        for command in [] if block.runs else commands(block):
            assert MAY_NOT_RUN.fullmatch(command.text), (
                f"{document.name}:{block.line}: {command.text} can run"
            )


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_within_the_repository_leads_somewhere(document: Path) -> None:
    """A reader who follows a link to a file of this repository finds it."""
    prose = _FENCE.sub("", document.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\((?!https?://|#)([^)#\s]+)", prose):
        assert (document.parent / target).exists(), f"{document.name}: there is no {target}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_that_is_named_exists(document: Path) -> None:
    """A sentence that says `everloop something` names a command that there is."""
    named = set(re.findall(r"`everloop ([a-z]+)", document.read_text(encoding="utf-8")))
    groups = [value for value in vars(cli).values() if isinstance(value, click.Group)]
    unknown = named - {name for group in groups for name in group.commands}
    assert not unknown, f"{document.name}: there is no everloop {', '.join(sorted(unknown))}"


def is_in_the_code(path: str) -> bool:
    """Whether `room.module`, or `room.module.name`, is there."""
    *modules, last = path.split(".")
    place = ROOT.joinpath("src/everloop", *modules)
    if (place / last).is_dir() or (place / f"{last}.py").exists():
        return True
    file = place.with_suffix(".py") if modules[1:] else place / "__init__.py"
    return file.exists() and re.search(rf"\b{last}\b", file.read_text(encoding="utf-8")) is not None


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_is_named_in_the_code_is_there(document: Path) -> None:
    """`room/file.py` is a file of the package, and a name in brackets after it stands in that file."""
    text = document.read_text(encoding="utf-8")
    for path, name in re.findall(r"`([a-z_]+/[a-z_/]*[a-z_]\.py)`(?:\s+\(`(\w+)`\))?", text):
        file = next(
            (root / path for root in (ROOT / "src/everloop", ROOT / "src", ROOT) if (root / path).exists()),
            None,
        )
        assert file is not None, f"{document.name}: there is no {path}"
        assert name in file.read_text(encoding="utf-8"), f"{document.name}: {path} has no {name}"


def test_every_module_and_folder_of_the_architecture_is_there() -> None:
    """`room.module`, `room.module.name` and `room/folder`, beside the files that every document is held to."""
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    for path in re.findall(r"`([a-z_]+(?:\.\w+)+)`", text):
        assert path.split(".")[0] not in ROOMS or is_in_the_code(path), f"there is no {path}"
    for path in re.findall(r"`([a-z_]+/[a-z_/]+)`", text):
        assert (ROOT / "src/everloop" / path).is_dir() or (ROOT / path).is_dir(), f"there is no {path}"


@pytest.mark.parametrize("document", ["CONTRIBUTING.md", "docs/architecture.md"])
def test_the_floors_are_those_that_are_held(document: str) -> None:
    """The table of floors is the contract of the rooms, from the top down; planned rooms stand in parentheses."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    held = next(contract["layers"] for contract in contracts if contract["containers"] == ["everloop"])
    rows = re.findall(r"^\| (\d+) \|(.*)\|$", (ROOT / document).read_text(encoding="utf-8"), re.M)
    assert [int(number) for number, _ in rows] == [*range(len(held), 0, -1)]
    for (number, told), layer in zip(rows, held, strict=True):
        rooms = re.findall(r"\(?`\w+`\)?", told.split("|")[0])
        assert {room.replace("`", "") for room in rooms} == set(layer.split(" | ")), f"floor {number}"
