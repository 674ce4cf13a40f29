"""everloop keeps machine-learning models fresh: the whole MLOps loop, from data to monitoring and back to training.

A project is a module of plain declarations and functions in the order of the loop, with `import everloop as ev` at its
top; see `everloop init`.
"""

from importlib import import_module
from sys import modules
from typing import TYPE_CHECKING

from everloop import errors
from everloop.evaluation.gates import at_least, at_most, beats, holds_on_slices, not_worse
from everloop.evaluation.metric import Metric
from everloop.evaluation.records import Estimate, Evaluation
from everloop.features.views import Aggregate, FeatureService, FeatureView
from everloop.loop.triggers import Budget, Triggers, on_decay, on_drift, on_new_data, on_schedule
from everloop.monitoring.monitors import DriftMonitor, PerformanceMonitor
from everloop.pipelines.pipeline import Pipeline, pipeline, register
from everloop.pipelines.steps import step
from everloop.records.checks import Check, CheckResult
from everloop.records.datasets import Dataset, between, not_null, one_of, unique
from everloop.records.models import Datatype, Field, Signature, Task
from everloop.registry.model_names import RegisteredModel
from everloop.rollout.all_at_once import AllAtOnce
from everloop.rollout.canary import Canary
from everloop.rollout.endpoint import Endpoint
from everloop.rollout.judge import error_rate, quality

if TYPE_CHECKING:
    from everloop.control.opened import open
    from everloop.data.require import require
    from everloop.data.split import Split, split_by_time
    from everloop.evaluation.baselines import constant, logistic
    from everloop.evaluation.compare import compare
    from everloop.evaluation.evaluate import evaluate
    from everloop.features.history import History, historical_features
    from everloop.models.model import Model
    from everloop.models.signature import categorical_places, infer_signature, matrix
    from everloop.training.fit import fit

# What needs numpy, pyarrow or duckdb is imported when it is first named, so that a command line starts at once.
_ON_FIRST_USE = {
    "History": "everloop.features.history",
    "Model": "everloop.models.model",
    "Split": "everloop.data.split",
    "categorical_places": "everloop.models.signature",
    "compare": "everloop.evaluation.compare",
    "constant": "everloop.evaluation.baselines",
    "evaluate": "everloop.evaluation.evaluate",
    "fit": "everloop.training.fit",
    "historical_features": "everloop.features.history",
    "infer_signature": "everloop.models.signature",
    "logistic": "everloop.evaluation.baselines",
    "matrix": "everloop.models.signature",
    "open": "everloop.control.opened",
    "require": "everloop.data.require",
    "split_by_time": "everloop.data.split",
}

__all__ = [
    "Aggregate",
    "AllAtOnce",
    "Budget",
    "Canary",
    "Check",
    "CheckResult",
    "Dataset",
    "Datatype",
    "DriftMonitor",
    "Endpoint",
    "Estimate",
    "Evaluation",
    "FeatureService",
    "FeatureView",
    "Field",
    "History",
    "Metric",
    "Model",
    "PerformanceMonitor",
    "Pipeline",
    "RegisteredModel",
    "Signature",
    "Split",
    "Task",
    "Triggers",
    "at_least",
    "at_most",
    "beats",
    "between",
    "categorical_places",
    "compare",
    "constant",
    "error_rate",
    "errors",
    "evaluate",
    "fit",
    "historical_features",
    "holds_on_slices",
    "infer_signature",
    "logistic",
    "matrix",
    "not_null",
    "not_worse",
    "on_decay",
    "on_drift",
    "on_new_data",
    "on_schedule",
    "one_of",
    "open",
    "pipeline",
    "quality",
    "register",
    "require",
    "split_by_time",
    "step",
    "unique",
]


def __getattr__(name: str) -> object:
    if name == "__version__":
        return import_module("importlib.metadata").version("everloop")
    if name not in _ON_FIRST_USE:
        # With these two Python guesses what was meant.
        raise AttributeError(f"module 'everloop' has no attribute {name!r}", name=name, obj=modules[__name__])
    return getattr(import_module(_ON_FIRST_USE[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
