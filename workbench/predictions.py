"""Classifier over panel: prediction, embedding and named layers as lazy columns of one forward pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from columns import ColumnSpec, EmbeddingColumn, PredictionColumn, TensorColumn
from columns.column import align
from columns.device import copy_on
from columns.expression import Map, Node, Pick, apply
from columns.functions import Function, Output, importable_name

from .classifier import Classifier, as_classifier
from .errors import PanelError
from .layered import EMBEDDING

if TYPE_CHECKING:
    from .panel import DataPanel

__all__ = ["ForwardPass", "predict"]


@dataclass(frozen=True)
class ForwardPass:
    """One forward pass of a classifier over a batch of its column: logits, and the layers that are wanted.

    Attributes
    ----------
    classifier : Classifier
        What runs.
    layers : tuple of str
        Layers that may be asked for.
    """

    classifier: Classifier
    layers: tuple[str, ...]

    def __call__(self, batch: Any, *, wanted: frozenset[str]) -> dict[str, Tensor]:
        inputs = self.classifier.prepare(batch)
        layers = [name for name in self.layers if name in wanted]
        if not layers:
            return {"logits": self.classifier(inputs)}
        logits, kept = self.classifier.with_layers(inputs, layers)
        if EMBEDDING in kept:
            vectors = kept[EMBEDDING]
            # A convolutional layer has a vector at each place: the embedding of the row is their mean.
            kept[EMBEDDING] = vectors.flatten(2).mean(dim=2) if vectors.ndim > 2 else vectors
        return {"logits": logits, **kept}

    def on(self, device: torch.device) -> ForwardPass:
        """Return the same pass on a device; the user's own module is never moved."""
        module = copy_on(self.classifier.module, device)
        if module is self.classifier.module:
            return self
        return ForwardPass(self.classifier.with_module(module), self.layers)

    def stable_name(self) -> str | None:
        """Return a name under which another process finds the same pass; the weights are hashed beside it."""
        names = [importable_name(self.classifier.module), importable_name(self.classifier.preprocess)]
        return None if None in names else f"{names} {self.layers}"


def predict(
    panel: DataPanel,
    model: Classifier,
    *,
    name: str = "prediction",
    keep: Sequence[str] = (),
    batch_size: int | None = None,
    device: str = "auto",
) -> DataPanel:
    """Return the panel with a classifier's outputs as lazy columns; nothing is run yet.

    Adds ``prediction`` (class scores and names) and ``embedding`` (the input of the last linear layer, or the
    layer that the classifier names). What is asked for together comes out of one forward pass.

    Parameters
    ----------
    panel : DataPanel
        With the column that the classifier feeds on.
    model : Classifier
        What predicts; run in evaluation mode, and left as found.
    name : str
        Name of the prediction column; a second prediction on one panel needs another, and its embedding is
        then called ``<name>_embedding``.
    keep : sequence of str
        Layers (``"embedding"`` among them) that are stored in advance, with the first pass; those that the
        panel has no column for become columns, ``<name>.<layer>``.
    batch_size : int, optional
        Rows per pass; chosen by the size of a row if left out, halved when memory runs out.
    device : str
        Where it runs: ``"auto"`` takes CUDA, then MPS, then the CPU.

    Raises
    ------
    PanelError
        If the panel has a column of that name already.
    NoColumnError
        If the classifier's column is not there.
    LayerError
        If a layer does not exist.

    Examples
    --------
    >>> from workbench import DataPanel
    >>> panel = DataPanel({"x": torch.eye(2)})
    >>> model = Classifier(torch.nn.Identity(), classes=["left", "right"], on="x")
    >>> predict(panel, model)["prediction"].label.to_list()
    ['left', 'right']
    """
    model = as_classifier(model)
    embedding = EMBEDDING if name == "prediction" else f"{name}_{EMBEDDING}"
    for column in (name, embedding):
        if column in panel:
            raise PanelError(f"This panel has a column '{column}' already; give the prediction another `name`.")
    for layer in keep:
        model.check_layer(layer)
    layers = tuple(dict.fromkeys((EMBEDDING, *keep)))
    outputs = (Output("logits", "dense"), *(Output(layer, "dense") for layer in layers))
    function = Function(ForwardPass(model, layers), outputs, True, batch_size, device, in_advance=tuple(keep))
    nodes, selection, keys = align([panel[model.on]])

    def build(inputs: tuple[Node, ...]) -> tuple[Node, ...]:
        run = Map(function, inputs)
        return tuple(Pick(run, o.name) for o in outputs)

    logits, *kept = apply(build, nodes)
    result = panel.copy()
    spec = ColumnSpec("prediction", None, (len(model.classes),), model.classes, "logits")
    result[name] = PredictionColumn.over(logits, selection, spec, keys, name)
    if model.has_embedding:
        result[embedding] = EmbeddingColumn.over(kept[0], selection, ColumnSpec("embedding"), keys, embedding)
    for layer, node in zip(layers[1:], kept[1:], strict=True):
        column = f"{name}.{layer}"
        result[column] = TensorColumn.over(node, selection, ColumnSpec("tensor"), keys, column)
    return result
