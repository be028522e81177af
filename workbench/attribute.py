"""The bridge to `explain`: what a classifier looked at, as a lazy column."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from columns import TensorColumn
from columns.device import copy_on
from columns.functions import importable_name
from explain import attribute as explain_attribute
from explain.methods import method_named

from .classifier import Classifier, check_classifier
from .errors import PanelError

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

    def __call__(self, batch: Tensor) -> Tensor:
        return explain_attribute(
            self.classifier, self.classifier.prepare(batch), self.method, target=self.target
        ).scores

    def on(self, device: torch.device) -> _Explained:
        """Return the same on a device; the user's own module is never moved."""
        module = copy_on(self.classifier.module, device)
        return (
            self
            if module is self.classifier.module
            else _Explained(self.classifier.with_module(module), self.method, self.target)
        )

    def stable_name(self) -> str | None:
        """Return a name under which another process finds the same attributions."""
        names = [importable_name(self.classifier.module), importable_name(self.classifier.preprocess)]
        plain = isinstance(self.target, (str, int))
        return f"{names} {self.method} {self.target}" if plain and None not in names else None


def attribute(
    panel: DataPanel,
    model: Classifier,
    method: str = "input_gradient",
    *,
    target: str | int = "max_log_probability",
    batch_size: int | None = None,
    device: str = "auto",
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
    target : str or int
        Which number is explained; see `explain.target_values`. The default, the log-probability of the
        predicted class, needs no labels. A class name means the logit of that class.
    batch_size, device
        As for `workbench.predict`.

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
    check_classifier(model)
    method_named(method)  # told here, not when the first row is computed
    if isinstance(target, str) and target in model.classes:
        target = model.classes.index(target)
    if target not in (_TARGETS if isinstance(target, str) else range(len(model.classes))):
        raise PanelError(
            f"A target must be one of {', '.join(_TARGETS)}, or a class ({', '.join(model.classes)}); got {target!r}."
        )
    column: TensorColumn = panel[model.on].map(
        _Explained(model, method, target), to=TensorColumn, batched=True, batch_size=batch_size, device=device
    )
    return column
