"""The workbench: data, models, slices, feedback, fine-tunes and comparisons in one place.

Begin with `DataPanel`, or with ``datasets.decoy_digits()``. `Classifier` says how a torch module is fed; `predict`
and `attribute` add lazy columns. `explore` shows a panel in a notebook cell, `annotate` paints on it. `propose` says
which rows to look at, `Feedback` keeps what people say of them, `propagate` carries a stroke to rows like it,
`finetune` obeys, `compare` shows what changed. A `Workbench` keeps all of it in a directory; `Loop` asks and trains in
rounds. `open` and `save` keep panels as files.

Names are read when they are first asked for, so that the import stays light.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from columns import (
        EmbeddingColumn,
        FileColumn,
        ImageColumn,
        ObjectColumn,
        PredictionColumn,
        ScalarColumn,
        TensorColumn,
        TextColumn,
        keep_results,
    )
    from explain import losses

    from . import datasets
    from .attributions import attribute
    from .classifier import Classifier
    from .clusters import ExplanationClusters, explanation_clusters
    from .comparison import Comparison, SliceComparison, compare
    from .directory import Workbench
    from .errors import (
        ClassifierError,
        DataError,
        FeedbackBusyError,
        FeedbackError,
        LayerError,
        LoopError,
        NoColumnError,
        NotHereError,
        OverlapError,
        PanelError,
        RunError,
        RunFileError,
        UntrustedError,
        WorkbenchError,
    )
    from .feedback import FeatureRegion, Feedback, ImageRegion, TextRegion
    from .finetuning import finetune, fit
    from .judging import Figures, figures
    from .loop import Loop, SimulatedUser
    from .panel import DataPanel
    from .predictions import predict
    from .propagation import Preview, propagate
    from .proposals import propose
    from .recipes import recipe
    from .record import Training, TrainingSettings
    from .runs import Replay, Run
    from .slices import Slice
    from .storage import open, save, versions
    from .widgets import annotate, explore

# The public names, by the module that they are read from.
_HOME = {
    "columns": [
        "EmbeddingColumn", "FileColumn", "ImageColumn", "ObjectColumn", "PredictionColumn", "ScalarColumn",
        "TensorColumn", "TextColumn", "keep_results",
    ],
    "workbench.attributions": ["attribute"],
    "workbench.classifier": ["Classifier"],
    "workbench.clusters": ["ExplanationClusters", "explanation_clusters"],
    "workbench.comparison": ["Comparison", "SliceComparison", "compare"],
    "workbench.directory": ["Workbench"],
    "workbench.errors": [
        "ClassifierError", "DataError", "FeedbackBusyError", "FeedbackError", "LayerError", "LoopError",
        "NoColumnError", "NotHereError", "OverlapError", "PanelError", "RunError", "RunFileError", "UntrustedError",
        "WorkbenchError",
    ],
    "workbench.feedback": ["FeatureRegion", "Feedback", "ImageRegion", "TextRegion"],
    "workbench.finetuning": ["finetune", "fit"],
    "workbench.judging": ["Figures", "figures"],
    "workbench.loop": ["Loop", "SimulatedUser"],
    "workbench.panel": ["DataPanel"],
    "workbench.predictions": ["predict"],
    "workbench.propagation": ["Preview", "propagate"],
    "workbench.proposals": ["propose"],
    "workbench.recipes": ["recipe"],
    "workbench.record": ["Training", "TrainingSettings"],
    "workbench.runs": ["Replay", "Run"],
    "workbench.slices": ["Slice"],
    "workbench.storage": ["open", "save", "versions"],
    "workbench.widgets": ["annotate", "explore"],
}  # fmt: skip
_MODULES = {"datasets": "workbench.datasets", "losses": "explain.losses"}
_FOUND_IN = {name: module for module, names in _HOME.items() for name in names}

__all__ = [
    "Classifier",
    "ClassifierError",
    "Comparison",
    "DataError",
    "DataPanel",
    "EmbeddingColumn",
    "ExplanationClusters",
    "FeatureRegion",
    "Feedback",
    "FeedbackBusyError",
    "FeedbackError",
    "Figures",
    "FileColumn",
    "ImageColumn",
    "ImageRegion",
    "LayerError",
    "Loop",
    "LoopError",
    "NoColumnError",
    "NotHereError",
    "ObjectColumn",
    "OverlapError",
    "PanelError",
    "PredictionColumn",
    "Preview",
    "Replay",
    "Run",
    "RunError",
    "RunFileError",
    "ScalarColumn",
    "SimulatedUser",
    "Slice",
    "SliceComparison",
    "TensorColumn",
    "TextColumn",
    "TextRegion",
    "Training",
    "TrainingSettings",
    "UntrustedError",
    "Workbench",
    "WorkbenchError",
    "annotate",
    "attribute",
    "compare",
    "datasets",
    "explanation_clusters",
    "explore",
    "figures",
    "finetune",
    "fit",
    "keep_results",
    "losses",
    "open",
    "predict",
    "propagate",
    "propose",
    "recipe",
    "save",
    "versions",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        found: Any = import_module(_MODULES[name])
    elif name in _FOUND_IN:
        found = getattr(import_module(_FOUND_IN[name]), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = found  # asked for once
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
