"""A model without the direction of an artefact in one of its layers."""

import copy
from typing import Any

from torch import Tensor, nn

from .concepts import Concept, feature_axis_of
from .errors import LayerError, SettingError, ShapeError
from .layers import named_layer

__all__ = ["Projected", "project_out"]


class Projected(nn.Module):
    """A layer whose output lies at the clean mean in the direction of an artefact.

    The output a becomes a − v vᵀ(a − mean): nothing that follows can tell by v whether the artefact
    is there. Activations with places are projected at each place.

    Parameters
    ----------
    inner : torch.nn.Module
        The layer. Its attributes can be read through this one.
    direction : Tensor, shape (features,), float
        v, of unit norm.
    mean : Tensor, shape (features,), float
        Mean without the artefact.
    feature_axis : int, optional
        See `features_last`.

    Raises
    ------
    ShapeError
        If `direction` and `mean` are not two vectors of one length.
    SettingError
        If `direction` has not unit norm.

    Notes
    -----
    Direction and mean are buffers: they move with the module and are saved in its state. The names of
    the layer's own weights gain ``inner.``.

    Examples
    --------
    >>> import torch
    >>> layer = Projected(nn.Identity(), torch.tensor([1.0, 0.0]), torch.tensor([0.5, 0.0]))
    >>> layer(torch.tensor([[9.0, 3.0]]))
    tensor([[0.5000, 3.0000]])
    """

    direction: Tensor
    mean: Tensor

    def __init__(self, inner: nn.Module, direction: Tensor, mean: Tensor, feature_axis: int | None = None) -> None:
        super().__init__()
        if direction.ndim != 1 or direction.shape != mean.shape:
            raise ShapeError(
                "`direction` and `mean` must be vectors of one length; "
                f"got {tuple(direction.shape)} and {tuple(mean.shape)}."
            )
        # Wide enough for half precision.
        if not abs(direction.norm().item() - 1) < 1e-2:
            raise SettingError(f"`direction` must have unit norm; got {direction.norm().item():.4g}.")
        self.inner = inner
        self.feature_axis = feature_axis
        self.register_buffer("direction", direction.detach().clone())
        self.register_buffer("mean", mean.detach().clone())
        # Not `train()`, which would put the parts of the layer in one mode.
        self.training = inner.training
        # torch's transformer layers, in evaluation, read the weights of their parts and never call them, unless a
        # part has a hook.
        self.register_forward_hook(_must_run)

    def __getattr__(self, name: str) -> Any:
        """Look up on the layer what is not here: others may read its weights or its settings."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == "inner":
                raise
            return getattr(self.inner, name)

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        """Run the layer and project its output.

        Raises
        ------
        LayerError
            If the output is not a tensor.
        ShapeError
            If it has another number of features.
        """
        activation = self.inner(*args, **kwargs)
        if not isinstance(activation, Tensor):
            raise LayerError(
                f"A layer must give a tensor to be projected; {type(self.inner).__name__} gives "
                f"{type(activation).__name__}."
            )
        axis = feature_axis_of(activation, self.feature_axis)
        features = activation.movedim(axis, -1)
        if features.shape[-1] != len(self.direction):
            raise ShapeError(
                f"The layer must give {len(self.direction)} features, as many as the direction has; got shape "
                f"{tuple(activation.shape)}."
            )
        # The model may have been moved or made half as precise since the concept was found.
        mean, direction = self.mean.to(features), self.direction.to(features)
        away = ((features - mean) * direction).sum(dim=-1, keepdim=True)
        return (features - away * direction).movedim(-1, axis)


def _must_run(projected: nn.Module, given: tuple[Any, ...], activation: Tensor) -> None:
    """Do nothing: a hook whose being there makes torch call the layer."""


def project_out(module: nn.Module, concept: Concept) -> nn.Module:
    """Copy a model without the direction of an artefact in one of its layers, and without training.

    The projective form of class artefact compensation, "P-ClArC" [1]_. It takes from the model what it
    reads along that direction, whether artefact or not: look at its accuracy, and train on if need be.

    Parameters
    ----------
    module : torch.nn.Module
        The model; not changed.
    concept : Concept
        From `concept_direction`.

    Returns
    -------
    torch.nn.Module
        A copy whose layer is a `Projected`, wherever the model uses it. Its state can be saved, and
        loaded into another copy that was projected at the same layer.

    Raises
    ------
    LayerError
        If there is no such layer.

    References
    ----------
    .. [1] C. J. Anders et al., "Finding and Removing Clever Hans: Using Explanation Methods to Debug
       and Improve Deep Models", Information Fusion 77, 2022.

    Examples
    --------
    >>> import torch
    >>> net = nn.Sequential(nn.Identity(), nn.Linear(2, 1))
    >>> concept = Concept("0", torch.tensor([1.0, 0.0]), torch.zeros(2))
    >>> clean = project_out(net, concept)
    >>> bool(clean(torch.tensor([[0.0, 5.0]])) == clean(torch.tensor([[7.0, 5.0]])))
    True
    """
    copied = copy.deepcopy(module)
    layer = named_layer(copied, concept.layer)
    projected = Projected(layer, concept.direction, concept.clean, concept.feature_axis)
    for parent in list(copied.modules()):
        # Not `named_children`, which names a layer once even where it is used twice.
        for name, child in list(parent._modules.items()):
            if child is layer:
                setattr(parent, name, projected)
    for encoder in copied.modules():
        # It would pack rows without their padding, which only the layers that skip their parts can read.
        if isinstance(encoder, nn.TransformerEncoder) and any(part is projected for part in encoder.modules()):
            encoder.enable_nested_tensor = encoder.use_nested_tensor = False
    return copied
