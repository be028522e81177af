"""The bridge to `explain`: what a classifier looked at, as a lazy column."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

import explain
from columns import TensorColumn
from columns.device import copy_on
from columns.functions import importable_name
from explain.methods import check_settings, layer_name, method_named

from .classifier import Classifier, as_classifier
from .errors import LayerError, PanelError

if TYPE_CHECKING:
    from .panel import DataPanel

__all__ = ["attribute"]

_TARGETS = ("max_log_probability", "log_probabilities", "max_logit")  # those that need no labels


@dataclass(frozen=True)
class _Explained:
    """Attributions of a batch of the classifier's column."""

    classifier: Classifier
    method: str
    target: Any
    settings: tuple[tuple[str, Any], ...]

    def __call__(self, batch: Tensor) -> Tensor:
        inputs = self.classifier.prepare(batch)
        settings = {name: _on(value, inputs.device) for name, value in self.settings}
        found = explain.attribute(self.classifier, inputs, self.method, target=self.target, **settings).scores
        return found.detach()

    def on(self, device: torch.device) -> _Explained:
        """Return the same on a device; the user's own module is never moved."""
        module = copy_on(self.classifier.module, device)
        return (
            self if module is self.classifier.module else replace(self, classifier=self.classifier.with_module(module))
        )

    def stable_name(self) -> str | None:
        """Return a name under which another process finds the same attributions."""
        names = [importable_name(self.classifier.module), importable_name(self.classifier.preprocess)]
        said = [self.target, *(value for _, value in self.settings)]
        plain = all(value is None or isinstance(value, (str, int, float)) for value in said)
        return f"{names} {self.method} {self.target} {self.settings}" if plain and None not in names else None


def _on(value: Any, device: torch.device) -> Any:
    """Move a setting that is a tensor to the device of the model."""
    return value.to(device) if isinstance(value, Tensor) else value


def attribute(
    panel: DataPanel,
    model: Classifier,
    method: str = "input_gradient",
    *,
    target: str | int | None = None,
    batch_size: int | None = None,
    device: str = "auto",
    **settings: Any,
) -> TensorColumn:
    """Return what a classifier looked at, as a lazy column with the shape of the model's inputs.

    Parameters
    ----------
    panel : DataPanel
        With the column that the classifier feeds on.
    model : Classifier
        What is explained.
    method : str
        One of `explain.METHODS`.
    target : str, int or None
        Which number is explained; see `explain.target_values`. None is the method's own default, which needs
        no labels: mostly the log-probability of the predicted class. A class name means the logit of that class.
    batch_size, device
        As for `workbench.predict`.
    **settings
        Of the method: ``steps=`` for integrated gradients, ``layer=`` for Grad-CAM; see `explain.attribute`. (The
        method's own ``batch_size``, rows × samples in a pass, goes by the name ``pass_size``.)

    Returns
    -------
    TensorColumn
        Scores of the shape of the model's inputs; of one channel for methods that ask a layer, and of shape
        (tokens,) for those of transformers. The model is asked in evaluation mode, and left as found.

    Raises
    ------
    PanelError
        If there is no such target, or the method has no such setting, or one that it needs is missing.
    LayerError
        If the model has no such layer.

    Examples
    --------
    >>> from workbench import DataPanel
    >>> panel = DataPanel({"x": torch.ones(1, 2)})
    >>> model = Classifier(torch.nn.Linear(2, 2, bias=False), classes=["a", "b"], on="x")
    >>> with torch.no_grad():
    ...     _ = model.module.weight.copy_(torch.tensor([[3.0, 0.0], [1.0, 0.0]]))
    >>> attribute(panel, model).to_list()
    [tensor([0.2384, 0.0000])]
    """
    model = as_classifier(model)
    method_named(method)  # told here, not when the first row is computed
    if isinstance(target, str) and target in model.classes:
        target = model.classes.index(target)
    offered_targets = _TARGETS if isinstance(target, str) else range(len(model.classes))
    if target is not None and (isinstance(target, bool) or target not in offered_targets):
        raise PanelError(
            f"A target must be one of {', '.join(_TARGETS)}, or a class ({', '.join(model.classes)}); got {target!r}."
        )
    try:
        check_settings(method, method_named(method), settings, model, batch_size="pass_size")
        if "layer" in settings:
            # By name: on another device the model is a copy, with layers of its own.
            settings["layer"] = layer_name(model, settings["layer"])
            model.check_layer(settings["layer"])
    except explain.MethodError as error:
        raise PanelError(str(error)) from None
    except explain.LayerError as error:
        raise LayerError(str(error)) from None
    said = tuple(sorted(("batch_size" if name == "pass_size" else name, value) for name, value in settings.items()))
    column: TensorColumn = panel[model.on].map(
        _Explained(model, method, target, said), to=TensorColumn, batched=True, batch_size=batch_size, device=device
    )
    return column
