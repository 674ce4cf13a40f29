"""What a run has made, as values again: for whoever shows a run, compares runs, or goes on from one in a notebook."""

from __future__ import annotations

from typing import Any

from everloop.errors import NotFound
from everloop.pipelines.artifacts import Artifacts
from everloop.pipelines.pipeline import Pipeline
from everloop.records.runs import StepRun
from everloop.storage.workspace import Workspace


def load_artifact(workspace: Workspace, pipeline: Pipeline | str, step: StepRun, name: str) -> object:
    """What a step made, or was given from another step, under this name; NotFound with the names there are.

    It comes in the type that the step's hint says. Where only the pipeline's name is known, or the step is gone from it, a
    record comes as plain values.
    """
    refs = {ref.name: ref for ref in (*step.inputs, *step.outputs)}
    if name not in refs:
        raise NotFound(
            f"step {step.step} of run {step.run_id} has no artifact {name!r}.",
            next_step=f"it has {', '.join(refs) or 'none'}.",
        )
    known = pipeline if isinstance(pipeline, str) else pipeline.name
    artifacts = Artifacts(blobs=workspace.blobs, trust=workspace.settings.trust, pipeline=known)
    return artifacts.load(refs[name], Any if isinstance(pipeline, str) else _hint(pipeline, step.step, name))


def _hint(pipeline: Pipeline, step: str, name: str) -> Any:
    node = pipeline.graph.find_node(step)
    if node is None:
        return Any
    read = {label: part.hint for label, part in node.parts().items()}
    return {**read, **node.outputs}.get(name, Any)
