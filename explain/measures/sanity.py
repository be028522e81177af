"""Sanity of a method: if the map stays when the weights are gone, it never showed the model."""

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..attribution import Attribution, scores_of
from ..errors import LayerError, ShapeError
from .ranks import rank_correlation

__all__ = ["SanityCheck", "randomized_weights", "sanity_check"]


@dataclass(frozen=True, eq=False)
class SanityCheck:
    """How like themselves the maps stay as layer after layer loses what it learned.

    Attributes
    ----------
    layers : tuple of str
        Names of the layers, in the order in which they were randomised; each entry is the state
        with this layer *and all before it* randomised.
    signed : Tensor, shape (layers, rows), float32
        Rank correlation with the map of the trained model, in [−1, 1]. NaN where a map is constant.
    magnitude : Tensor, shape (layers, rows), float32
        The same of the magnitudes of the scores: this is what catches a method that draws the
        edges of the picture, whatever the model.

    Examples
    --------
    >>> SanityCheck(("2", "0"), torch.tensor([[0.1], [0.0]]), torch.tensor([[0.5], [0.25]]))
    SanityCheck(2: 0.10 signed, 0.50 magnitude; 0: 0.00 signed, 0.25 magnitude)
    """

    layers: tuple[str, ...]
    signed: Tensor
    magnitude: Tensor

    def __repr__(self) -> str:
        means = zip(self.layers, self.signed.nanmean(dim=1).tolist(), self.magnitude.nanmean(dim=1).tolist())
        told = (f"{name or 'itself'}: {signed:.2f} signed, {size:.2f} magnitude" for name, signed, size in means)
        return f"SanityCheck({'; '.join(told)})"


def sanity_check(
    module: nn.Module,
    explain: Callable[[nn.Module], Tensor | Attribution],
    *,
    layers: Sequence[str] | None = None,
    seed: int = 0,
) -> SanityCheck:
    """Randomise the weights from the top down and watch whether the maps change.

    The cascading randomisation of [1]_. A map that is about what the model has learned loses its
    likeness with the first layers; one that stays, such as that of guided backpropagation, shows
    the picture and not the model.

    Parameters
    ----------
    module : nn.Module
        A trained model; it is copied and never changed.
    explain : callable
        A module to an attribution, or scores, of the same rows, shape (rows, *event), float: it must explain *the
        module that it is given*, and draw with a fixed seed if it draws.
    layers : sequence of str or None
        Names of the layers to randomise, from the top down; see `randomized_weights`.
    seed : int
        Draws the weights.

    Returns
    -------
    SanityCheck
        One entry a layer.

    Raises
    ------
    LayerError
        If there is no such layer, or none that has weights.
    ShapeError
        If the maps are not (rows, *event), or change their shape.

    References
    ----------
    .. [1] J. Adebayo et al., "Sanity Checks for Saliency Maps", NeurIPS 2018.

    Examples
    --------
    A "method" that never looks at the model is found out at once:

    >>> picture = torch.tensor([[0.0, 1.0, 5.0]])
    >>> sanity_check(nn.Linear(3, 2), lambda module: picture).signed
    tensor([[1.]])
    """
    names, signed, magnitude = [], [], []
    # Not even the reference is taken from the original: explaining may move buffers or leave hooks.
    trained = scores_of(explain(copy.deepcopy(module))).detach()
    for name, changed in randomized_weights(module, layers=layers, seed=seed):
        scores = scores_of(explain(changed)).detach()
        if scores.shape != trained.shape:
            raise ShapeError(
                f"`explain` must return maps of one shape, {tuple(trained.shape)}; with the weights of layer "
                f"{name!r} randomised it returned {tuple(scores.shape)}."
            )
        names.append(name)
        signed.append(rank_correlation(trained, scores))
        magnitude.append(rank_correlation(trained.abs(), scores.abs()))
    return SanityCheck(tuple(names), torch.stack(signed), torch.stack(magnitude))


def randomized_weights(
    module: nn.Module, *, layers: Sequence[str] | None = None, seed: int = 0
) -> Iterator[tuple[str, nn.Module]]:
    """Yield a copy of a model that loses what it learned, layer by layer, from the top down.

    Parameters
    ----------
    module : nn.Module
        A trained model; it is copied and never changed.
    layers : sequence of str or None
        Names as in ``named_modules()``, from the top (the output) down; a block is randomised as a
        whole. None: every submodule that holds weights itself, the last registered first, which is
        top down in every model that registers its layers in the order in which it uses them.
    seed : int
        Draws the weights: the same seed draws the same on every device.

    Yields
    ------
    name : str
        The layer that was randomised last.
    changed : nn.Module
        In the mode of the original, with this layer and all before it randomised. It is the same object at every
        step: use it, or copy it, before asking for the next.

    Raises
    ------
    LayerError
        If there is no such layer, or none that has weights.

    Notes
    -----
    Each weight tensor is drawn anew from a normal distribution with its own mean and standard
    deviation. So every kind of layer can be randomised, also one whose initialiser is unknown or
    constant, as that of normalisation layers; and activations keep their scale. A tensor whose
    entries are all equal has nothing to lose and stays, and so do buffers.

    References
    ----------
    .. [1] J. Adebayo et al., "Sanity Checks for Saliency Maps", NeurIPS 2018.

    Examples
    --------
    >>> net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    >>> [(name, bool((copied[0].weight == net[0].weight).all())) for name, copied in randomized_weights(net)]
    [('2', True), ('0', False)]
    """
    changed = copy.deepcopy(module)
    found = dict(changed.named_modules())
    if layers is None:
        layers = [name for name, layer in found.items() if _weights(layer, recurse=False)][::-1]
    unknown = [name for name in layers if name not in found]
    if unknown:
        raise LayerError(f"No layer {unknown[0]!r} in this module; it has: {', '.join(filter(None, found))}.")
    empty = [name for name in layers if not _weights(found[name], recurse=True)]
    if empty or not layers:
        what = f"Layer {empty[0]!r}" if empty else "This module"
        raise LayerError(f"{what} has no weights to randomise; give `layers` that do.")
    return _cascade(changed, {name: found[name] for name in layers}, seed)


def _cascade(changed: nn.Module, layers: dict[str, nn.Module], seed: int) -> Iterator[tuple[str, nn.Module]]:
    generator = torch.Generator().manual_seed(seed)
    drawn: set[int] = set()
    for name, layer in layers.items():
        for weight in _weights(layer, recurse=True):
            # Weights that two layers share are lost once.
            if id(weight) not in drawn:
                drawn.add(id(weight))
                _forget(weight, generator)
        yield name, changed


@torch.no_grad()
def _forget(weight: nn.Parameter, generator: torch.Generator) -> None:
    """Replace weights by others of the same mean and standard deviation."""
    noise = torch.randn(weight.shape, generator=generator).to(weight)
    deviation, mean = torch.std_mean(weight, correction=0)
    weight.copy_(mean + deviation * noise)


def _weights(layer: nn.Module, *, recurse: bool) -> list[nn.Parameter]:
    return [weight for weight in layer.parameters(recurse) if weight.is_floating_point() and weight.numel()]
