"""Look at a model's data and reasons, say what must not matter, relaunch, and compare.

The tour: `DataPanel` holds images, text, embeddings and predictions as lazy columns; `Classifier` says how a
torch module is fed and what its outputs are called; `predict` and `attribute` give columns; `fit` and `finetune`
train, with any of `losses`; `compare` tells what changed; `open` and `save` keep panels on disk; `datasets` has
data to try it on.
"""

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
from .attribute import attribute
from .classifier import Classifier
from .compare import Comparison, Figures, compare, figures
from .errors import (
    ClassifierError,
    DataError,
    LayerError,
    NoColumnError,
    PanelError,
    RunError,
    WorkbenchError,
)
from .finetune import finetune, fit
from .panel import DataPanel
from .predict import predict
from .recipes import recipe
from .record import Training, TrainingSettings
from .storage import open, save, versions

__all__ = [
    "Classifier",
    "ClassifierError",
    "Comparison",
    "DataError",
    "DataPanel",
    "EmbeddingColumn",
    "Figures",
    "FileColumn",
    "ImageColumn",
    "LayerError",
    "NoColumnError",
    "ObjectColumn",
    "PanelError",
    "PredictionColumn",
    "RunError",
    "ScalarColumn",
    "TensorColumn",
    "TextColumn",
    "Training",
    "TrainingSettings",
    "WorkbenchError",
    "attribute",
    "compare",
    "datasets",
    "figures",
    "finetune",
    "fit",
    "keep_results",
    "losses",
    "open",
    "predict",
    "recipe",
    "save",
    "versions",
]
