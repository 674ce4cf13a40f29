"""What can do the steps of a run: one file and one line of `EXECUTORS` each; everloop.toml names one."""

from collections.abc import Callable, Mapping

from everloop.errors import ProjectError
from everloop.pipelines.executors.executor import Executor, Here
from everloop.pipelines.executors.in_process import InProcess
from everloop.pipelines.executors.process import Process

__all__ = ["EXECUTORS", "Executor", "Here", "check_executor", "executor_named"]

EXECUTORS: Mapping[str, Callable[[Here], Executor]] = {
    "in_process": InProcess,
    "process": Process,
}


def check_executor(name: str) -> None:
    """Refuse what `[worker] executor` cannot mean."""
    if name not in EXECUTORS:
        raise ProjectError(
            f"[worker] executor is {name!r}; there are {', '.join(EXECUTORS)}.",
            next_step="write one of them.",
        )


def executor_named(name: str, here: Here) -> Executor:
    """The executor that `[worker] executor` asks for."""
    check_executor(name)
    return EXECUTORS[name](here)
