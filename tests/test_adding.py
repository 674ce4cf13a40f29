"""How many files are touched to add a thing: each row of the table in docs/architecture.md, done in a copy of the tree."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent

import pytest

from everloop.storage.schema import REVISIONS

ROOT = Path(__file__).parents[1]
TREE = ROOT / "src" / "everloop"


@dataclass(frozen=True, kw_only=True)
class Addition:
    """What somebody does who adds one thing, and a program that uses it."""

    new: Mapping[str, str] = field(default_factory=dict)
    """Files that are written, by their path in the package."""
    lines: Mapping[str, Mapping[str, str]]
    """In files that are there: what is put in place of a line that stands there once."""
    shown: str
    """Fails unless the thing is there and works."""


ADDITIONS: Mapping[str, Addition] = {
    "a metric": Addition(
        new={
            "evaluation/distance.py": """
                '''How far a probability is from the label.'''

                import numpy as np


                def distances(outputs, labels):
                    '''Of each row.'''
                    return np.abs(outputs - labels)
            """
        },
        lines={
            "evaluation/metric.py": {
                '_ours("brier",': '_ours("distance", losses=_found("distance.distances"), bound=1.0), _ours("brier",'
            }
        },
        shown="""
            import everloop as ev
            from everloop.evaluation.measure import evaluate_metrics

            assert round(evaluate_metrics([0.25, 0.5, 1.0], [0, 1, 1])["distance"].value, 6) == 0.25
            assert ev.quality(metric="distance").metric.bound == 1.0
            assert ev.at_most("distance", 0.3).name
        """,
    ),
    "a flavor": Addition(
        new={
            "models/flavors/table.py": """
                '''Answers that are looked up.'''

                import json

                import numpy as np

                from everloop.models.flavors.flavor import Flavor


                class Table:
                    '''One answer for each whole number.'''

                    def __init__(self, answers):
                        self.answers = answers


                TABLE = Flavor(
                    name="table",
                    file="table.json",
                    owns=lambda estimator: isinstance(estimator, Table),
                    write=lambda table: json.dumps(table.answers).encode(),
                    read=lambda data, _trust: Table(json.loads(data)),
                    width=lambda _table: 1,
                    predict=lambda table: lambda rows: np.array([table.answers[int(row)] for row in rows[:, 0]]),
                )
            """
        },
        lines={
            "models/flavors/__init__.py": {
                "import SKLEARN": "import SKLEARN\nfrom everloop.models.flavors.table import TABLE",
                "FLAVORS = (LIGHTGBM, SKLEARN, ONNX)": "FLAVORS = (LIGHTGBM, SKLEARN, ONNX, TABLE)",
            }
        },
        shown="""
            import sys
            from pathlib import Path

            from everloop.models.flavors.table import Table
            from everloop.models.model import Model
            from everloop.models.saving import load_model, save_model
            from everloop.records.models import Datatype, Field, Signature
            from everloop.settings import Trust
            from everloop.storage.blobs import Blobs

            signature = Signature(
                inputs=(Field(name="n", datatype=Datatype.INT64),), outputs=(Field(name="p", datatype=Datatype.FP64),)
            )
            blobs = Blobs(Path(sys.argv[1]) / "blobs")
            digest = save_model(blobs, Model(Table([0.5, 0.25]), signature))
            model = load_model(blobs, digest, trust=Trust())
            assert model.flavor == "table"
            assert model.infer({"n": [1, 0]})["p"].tolist() == [0.25, 0.5]
        """,
    ),
    "an executor": Addition(
        new={
            "pipelines/executors/thread.py": """
                '''Steps in a thread of the worker.'''

                from concurrent.futures import ThreadPoolExecutor, wait


                class Thread:
                    '''One at a time.'''

                    places = 1

                    def __init__(self, here):
                        self._here, self._threads = here, ThreadPoolExecutor(1, thread_name_prefix="step")

                    def submit(self, order):
                        return self._threads.submit(self._here, order)

                    def cancel(self, futures):
                        wait(futures)

                    def close(self):
                        self._threads.shutdown()
            """
        },
        lines={
            "pipelines/executors/__init__.py": {
                "import Process": "import Process\nfrom everloop.pipelines.executors.thread import Thread",
                '"process": Process,': '"process": Process, "thread": Thread,',
            }
        },
        shown="""
            import sys
            from pathlib import Path
            from textwrap import dedent

            import everloop as ev

            module = '''
                import threading

                from everloop import pipeline, step


                @step
                def name() -> str:
                    return threading.current_thread().name


                @pipeline
                def main() -> None:
                    name()
            '''
            root = Path(sys.argv[1]) / "project"
            root.mkdir(exist_ok=True)
            (root / "named.py").write_text(dedent(module))
            (root / "everloop.toml").write_text("project.module = 'named'\\nworker.executor = 'thread'\\n")
            with ev.open(root) as project:
                assert project.run("main").artifacts["name.output"].startswith("step")
        """,
    ),
    "a format of artifacts": Addition(
        new={
            "pipelines/formats/complex.py": """
                '''Complex numbers as text.'''

                from everloop.pipelines.formats.format import Format

                COMPLEX = Format(
                    name="complex",
                    owns=lambda value, _hint: type(value) is complex,
                    write=lambda value, blob, _slot: blob.write(repr(value).encode()),
                    read=lambda file, _slot: complex(file.read().decode()),
                )
            """
        },
        lines={
            "pipelines/formats/__init__.py": {
                "import Format, Slot": "import Format, Slot\nfrom everloop.pipelines.formats.complex import COMPLEX",
                "FORMATS = (MODEL, ": "FORMATS = (COMPLEX, MODEL, ",
            }
        },
        shown="""
            import sys
            from pathlib import Path

            from everloop.pipelines.artifacts import Artifacts
            from everloop.settings import Trust
            from everloop.storage.blobs import Blobs

            artifacts = Artifacts(blobs=Blobs(Path(sys.argv[1]) / "blobs"), trust=Trust(), pipeline="main")
            ref, _ = artifacts.save("output", 1 + 2j, complex)
            assert (ref.format, artifacts.load(ref, complex)) == ("complex", 1 + 2j)
        """,
    ),
    "a JSON dialect": Addition(
        new={
            "serving/dialects/columns.py": """
                '''Columns in, columns out.'''

                import msgspec

                from everloop.serving.dialects.dialect import Dialect
                from everloop.serving.protocol import InferenceRequest, decode

                _decoder = msgspec.json.Decoder(dict[str, list[bool | int | float | str | None]])


                def read(body, signature):
                    '''Decode `{input: [value, …]}`.'''
                    columns = decode(_decoder, body)
                    signature.check_names(columns)
                    return InferenceRequest(signature=signature, columns=signature.fit(columns), rows=1)


                COLUMNS = Dialect(
                    name="columns",
                    routes={"/columns/{model}": None},
                    read=read,
                    write=lambda response: msgspec.json.encode(response.values),
                    refuse=lambda error: msgspec.json.encode({"no": str(error)}),
                )
            """
        },
        lines={
            "serving/dialects/__init__.py": {
                "import V2\n": "import V2\nfrom everloop.serving.dialects.columns import COLUMNS\n",
                "(V2, V1)": "(V2, V1, COLUMNS)",
            }
        },
        shown="""
            import json
            import sys
            import urllib.error
            import urllib.request
            from pathlib import Path

            from everloop.errors import NotReady
            from everloop.serving.server import serving
            from everloop.settings import Settings
            from everloop.storage.workspace import open_workspace

            workspace = open_workspace(Settings(root=Path(sys.argv[1]), module="project"))
            with serving(workspace, ["late"]) as server:
                try:
                    urllib.request.urlopen(f"{server.url}/columns/late", data=b"{}")
                except urllib.error.HTTPError as error:
                    assert error.code == 503
                    assert list(json.load(error)) == ["no"]
            workspace.close()
        """,
    ),
    "a wrapper of inference": Addition(
        new={
            "serving/traced.py": """
                '''Who asked whom.'''

                seen = []


                def traced(context, infer):
                    '''Write it down.'''
                    return lambda asked: seen.append((asked.dialect, asked.model)) or infer(asked)
            """
        },
        lines={
            "serving/infer.py": {
                "from everloop.serving.protocol import": "from everloop.serving.traced import traced\n"
                "from everloop.serving.protocol import",
                "(measured, admitted, shadowed)": "(traced, measured, admitted, shadowed)",
            }
        },
        shown="""
            from everloop.errors import NotFound
            from everloop.serving.infer import InferContext, InferenceCall, compose_infer
            from everloop.serving.metrics import ServerMetrics
            from everloop.serving.planes import Planes
            from everloop.serving.traced import seen

            infer = compose_infer(InferContext(Planes([]), ServerMetrics()))
            try:
                infer(InferenceCall(dialect="mine", model="late", read=None))
            except NotFound:
                pass
            assert seen == [("mine", "late")]
        """,
    ),
    "a field of a run": Addition(
        new={
            "storage/migrations/versions/r9999_note.py": f"""
                '''Runs have a note.'''

                import sqlalchemy as sa
                from alembic import op

                revision = "9999"
                down_revision = "{REVISIONS[-1]}"
                branch_labels = None
                depends_on = None


                def upgrade():
                    '''Add it.'''
                    op.add_column("runs", sa.Column("note", sa.Text(), server_default=""))
            """
        },
        lines={
            "storage/schema.py": {
                f'"{REVISIONS[-1]}")': f'"{REVISIONS[-1]}", "9999")',
                '    Column("resumed",': '    Column("note", Text, server_default=""),\n    Column("resumed",',
            },
            "records/runs.py": {"    resumed: int = 0": "    note: str = ''\n    resumed: int = 0"},
            "metadata/runs.py": {
                "    register: bool = True,\n": "    register: bool = True,\n    note: str = '',\n",
                "        register=register,\n": "        register=register,\n        note=note,\n",
                '"requested_at", "register")': '"requested_at", "register", "note")',
            },
        },
        shown="""
            import sys
            from pathlib import Path

            from everloop.metadata.runs import list_runs, request_run
            from everloop.settings import Settings
            from everloop.storage.codec import to_json
            from everloop.storage.workspace import open_workspace

            workspace = open_workspace(Settings(root=Path(sys.argv[1]), module="project"))
            asked = {"pipeline": "train", "key": "1", "trigger": "on_demand", "reason": "a test", "who": "ann"}
            with workspace.database.write() as tx:
                request_run(tx, workspace, **asked, values={}, note="look at this one")
            with workspace.database.read() as tx:
                (run,) = list_runs(tx)
            assert to_json(run)["note"] == "look at this one"
            workspace.close()
        """,
    ),
}
"""By the words of the table."""


def _table() -> dict[str, tuple[int, int]]:
    """The rows of the document: new files, and files changed."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    part = text.split("## What it takes to add something")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (an? [^|]*?) \| (\d+)[^|]* \| (\d+)\b", part, re.MULTILINE)
    return {what: (int(new), int(changed)) for what, new, changed in rows}


def test_each_row_of_the_table_is_tried() -> None:
    """None is only said."""
    assert set(_table()) == set(ADDITIONS)


@pytest.mark.parametrize("what", ADDITIONS)
def test_adding_takes_so_many_files(what: str, tmp_path: Path) -> None:
    """As many as the document says, and the thing works; in the tree as it is, the same program fails."""
    addition = ADDITIONS[what]
    assert (len(addition.new), len(addition.lines)) == _table()[what]
    copy = tmp_path / "tree" / "everloop"
    shutil.copytree(TREE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    program = tmp_path / "shown.py"
    program.write_text(dedent(addition.shown), encoding="utf-8")
    assert _run(program, copy.parent, tmp_path).returncode != 0, "it is there already, and nothing was shown"
    for name, text in addition.new.items():
        file = copy / name
        assert not file.exists()
        file.write_text(dedent(text).lstrip(), encoding="utf-8")
    for name, changes in addition.lines.items():
        text = (copy / name).read_text(encoding="utf-8")
        for old, line in changes.items():
            assert text.count(old) == 1, f"{name} has no one {old!r}"
            text = text.replace(old, line)
        (copy / name).write_text(text, encoding="utf-8")
    done = _run(program, copy.parent, tmp_path)
    assert done.returncode == 0, done.stderr


def _run(program: Path, tree: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """In an interpreter that has the copy in place of the package."""
    check = f"import everloop, runpy, sys; assert everloop.__file__.startswith({str(tree)!r}), everloop.__file__; "
    code = (
        f"{check}sys.argv = ['shown', {str(folder)!r}]; runpy.run_path({str(program)!r}, run_name='__main__')"
    )
    environment = {**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=folder, check=False
    )
