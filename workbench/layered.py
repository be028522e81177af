"""The layers of a classifier's module by name, and the one whose output is its embedding."""

from collections.abc import Sequence
from contextlib import ExitStack
from difflib import get_close_matches
from typing import Any

import torch
from torch import Tensor, nn

import explain

from .errors import ClassifierError, LayerError

__all__ = ["Layered"]

# The name under which every classifier offers its embedding, whatever the layer is called inside.
EMBEDDING = "embedding"


class Layered:
    """What a `Classifier` can say of the layers inside its module."""

    module: nn.Module
    classes: tuple[str, ...]
    _embedding: str | None

    def with_layers(self, inputs: Tensor, names: Sequence[str]) -> tuple[Tensor, dict[str, Tensor]]:
        """Run the module once and keep the activations of the layers named.

        Parameters
        ----------
        inputs : Tensor, shape (batch, *event)
            Model inputs.
        names : sequence of str
            Layers as in ``module.named_modules()``, and "embedding", which always means the
            embedding of the classifier.

        Returns
        -------
        Tensor, shape (batch, classes), float
            Logits.
        dict of str to Tensor
            The output of each layer (of its last call, if it is called several times), connected
            to the logits through autograd. For the default embedding, the input of the last linear layer.

        Raises
        ------
        LayerError
            If a layer does not exist, returns something else than a tensor, or did not run.
        ClassifierError
            As for a call.
        """
        wanted = {name: self._resolved(name) for name in dict.fromkeys(names)}
        inner = [layer for layer in wanted.values() if layer is not None]
        kept: dict[str, Tensor] = {}
        with ExitStack() as hooks:
            if len(inner) < len(wanted):
                hooks.callback(self._keep_embedding(kept).remove)
            try:
                logits, layers = explain.with_layers(self.module, inputs, inner)
            except explain.LayerError as error:
                raise LayerError(str(error)) from error
        self._check_logits(logits, inputs)
        if len(inner) < len(wanted) and not kept:
            raise LayerError("The last torch.nn.Linear must run to give the embedding; it did not. Name another layer.")
        return logits, {name: kept[EMBEDDING] if layer is None else layers[layer] for name, layer in wanted.items()}

    @property
    def embedding_layer(self) -> str | None:
        """Name of the layer whose output is the embedding; None for the input of the last linear layer."""
        return self._embedding

    @property
    def has_embedding(self) -> bool:
        """Whether there is a layer to take the embedding from."""
        return self._embedding is not None or any(isinstance(m, nn.Linear) for m in self.module.modules())

    def check_layer(self, name: str) -> None:
        """Raise if there is no layer of that name.

        Raises
        ------
        LayerError
            With the nearest name.
        """
        if name != EMBEDDING or self._embedding is not None:
            self._find(self._embedding if name == EMBEDDING and self._embedding else name)

    def _find(self, name: str) -> nn.Module:
        """Find a submodule by name, or raise with the nearest name."""
        parts: dict[str, nn.Module] = dict(self.module.named_modules())
        if name in parts:
            return parts[name]
        names = [part for part in parts if part]
        near = get_close_matches(name, [*names, EMBEDDING], n=1)
        guess = f"; did you mean {near[0]!r}?" if near else "."
        raise LayerError(f"No layer {name!r} in this {type(self.module).__name__}{guess} It has: {', '.join(names)}.")

    def _resolved(self, name: str) -> str | None:
        """Return the name of a layer inside the module; None for the default embedding, which is an input."""
        if name != EMBEDDING:
            self._find(name)
            return name
        return self._embedding

    def _keep_embedding(self, kept: dict[str, Tensor]) -> torch.utils.hooks.RemovableHandle:
        """Hook the last linear layer so that its input lands in `kept`."""
        linear = [part for part in self.module.modules() if isinstance(part, nn.Linear)]
        if not linear:
            raise LayerError(
                "The default embedding is the input of the last torch.nn.Linear, and this "
                f"{type(self.module).__name__} has none; name a layer: Classifier(..., embedding='...')."
            )

        def keep(part: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
            kept[EMBEDDING] = inputs[0]
            # The layer goes on with a copy, so that nothing later can overwrite what is kept.
            return (inputs[0].clone(), *inputs[1:])

        return linear[-1].register_forward_pre_hook(keep)

    def _check_logits(self, logits: Any, inputs: Tensor) -> None:
        """Raise unless there is one logit for each row and class."""
        if not isinstance(logits, Tensor):
            raise ClassifierError(
                f"The module must return a tensor of logits; got {type(logits).__name__}. "
                "Wrap it in a module that picks the logits."
            )
        if tuple(logits.shape) != (len(inputs), len(self.classes)):
            raise ClassifierError(
                f"The module must return one logit per row and class, shape ({len(inputs)}, "
                f"{len(self.classes)}) for the {len(self.classes)} classes named; got {tuple(logits.shape)} "
                f"for inputs of shape {tuple(inputs.shape)}."
            )
