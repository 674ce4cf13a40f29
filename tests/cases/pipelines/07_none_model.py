"""zenml#874 (no materializer for this output type): a step hinted `Model | None` that returns None."""

import kit

kit.inside()
SRC = """
from everloop import Model, pipeline, step
@step
def maybe() -> Model | None:
    return None
@step(cache=False)
def show(m: Model | None) -> None:
    print("GOT", m)
@pipeline
def flow() -> None:
    show(maybe())
"""
done = kit.cli(kit.project(SRC), "run", "flow")
kit.verdict("GOT None" in done.stdout, kit.oneline(done.stdout + done.stderr))
