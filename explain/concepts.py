"""Concept activation vectors: the direction of an artefact in a layer."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .as_used import as_used
from .batch import Logits
from .errors import SettingError, ShapeError
from .layers import with_layers

__all__ = ["Concept", "concept_direction", "feature_axis_of", "features_last"]


@dataclass(frozen=True, eq=False)
class Concept:
    """The direction in which an artefact moves the activation of a layer.

    Attributes
    ----------
    layer : str
        Layer as in ``module.named_modules()``.
    direction : Tensor, shape (features,), float
        Of unit norm, pointing towards the artefact.
    clean : Tensor, shape (features,), float
        Mean activation, over rows and places, without the artefact.
    feature_axis : int or None
        Axis of the activation along which the features run; see `features_last`.
    """

    layer: str
    direction: Tensor
    clean: Tensor
    feature_axis: int | None = None


@as_used
def concept_direction(
    forward: Logits,
    layer: str,
    with_artefact: Tensor,
    without_artefact: Tensor,
    method: str = "pattern",
    *,
    pool: str = "mean",
    penalty: float = 1.0,
    feature_axis: int | None = None,
    batch_size: int = 256,
) -> Concept:
    """Find the direction of an artefact in a layer, from examples with it and without.

    Activations with places (the map of a convolution, a sequence of tokens) are pooled over them to
    one vector per row.

    ===========  =================================================================================
    method       direction
    ===========  =================================================================================
    ``pattern``  covariance of activation and artefact [1]_. As the artefact is there or not, this is
                 the difference between the two means, whatever the groups' sizes
    ``ridge``    weights of a ridge classifier, groups weighted equally
    ``svm``      weights of a linear support vector machine [2]_, likewise
    ===========  =================================================================================

    Parameters
    ----------
    forward : Forward or module
        The model; asked in evaluation mode, and left as found.
    layer : str
        Layer as in ``module.named_modules()``.
    with_artefact, without_artefact : Tensor, shape (rows, *event)
        Model inputs, best otherwise alike: the same rows with the artefact painted in, or rows of the
        same classes. Otherwise the direction holds whatever else tells the groups apart.
    method : {"pattern", "ridge", "svm"}
        How the direction is found.
    pool : {"mean", "max"}
        Over places. The maximum finds an artefact that fills few of many places more sharply.
    penalty : float
        Of the classifiers, above 0: scikit-learn's ``alpha`` of the ridge, 1 / ``C`` of the machine.
    feature_axis : int, optional
        Axis of the features; see `features_last`.
    batch_size : int
        Rows per forward pass.

    Returns
    -------
    Concept
        Layer, direction and the mean of the rows without the artefact.

    Raises
    ------
    SettingError
        If there is no such method or pooling, the penalty is not above 0, a group has no row, or the
        groups do not differ.
    LayerError, KindError
        See `with_layers`.
    ShapeError
        If the activation has no such axis.

    Notes
    -----
    The weights of a classifier tell the groups apart best, which bends them away from distractors
    that the features share; the pattern says how the artefact itself moves them, and is what has to be
    removed [1]_.

    References
    ----------
    .. [1] F. Pahde et al., "Navigating Neural Space: Revisiting Concept Activation Vectors to
       Overcome Directional Divergence", ICLR 2025.
    .. [2] B. Kim et al., "Interpretability Beyond Feature Attribution: Quantitative Testing with
       Concept Activation Vectors (TCAV)", ICML 2018.

    Examples
    --------
    >>> net = torch.nn.Sequential(torch.nn.Identity(), torch.nn.Linear(2, 2))
    >>> concept = concept_direction(net, "0", torch.tensor([[4.0, 1.0]]), torch.tensor([[1.0, 1.0]]))
    >>> concept.direction, concept.clean
    (tensor([1., 0.]), tensor([1., 1.]))
    """
    if method not in DIRECTIONS:
        raise SettingError(f"`method` must be one of {', '.join(DIRECTIONS)}; got {method!r}.")
    if pool not in ("mean", "max"):
        raise SettingError(f"`pool` must be mean or max; got {pool!r}.")
    if not 0 < penalty < float("inf"):
        raise SettingError(f"`penalty` must be above 0 and finite; got {penalty}.")
    if len(with_artefact) == 0 or len(without_artefact) == 0:
        raise SettingError(
            "A direction needs rows with the artefact and rows without; "
            f"got {len(with_artefact)} and {len(without_artefact)}."
        )
    affected, _ = _pooled(forward, layer, with_artefact, pool, feature_axis, batch_size)
    clean, clean_mean = _pooled(forward, layer, without_artefact, pool, feature_axis, batch_size)
    found = DIRECTIONS[method](affected, clean, penalty)
    size = found.norm()
    if not 0 < size < float("inf"):
        raise SettingError(
            f"Layer {layer!r} must respond to the artefact, with finite activations; the direction found has norm "
            f"{size.item():.4g}. Choose another layer, or look at the rows."
        )
    return Concept(layer, (found / size).to(clean_mean), clean_mean, feature_axis)


def features_last(activation: Tensor, feature_axis: int | None = None) -> Tensor:
    """Move the axis of the features to the end; what lies between it and the batch are places.

    Parameters
    ----------
    activation : Tensor, shape (batch, ...)
        Of a layer.
    feature_axis : int, optional
        Where the features are: by default the channels, axis 1, but the last axis of (batch, tokens,
        features). To be given for a convolution over sequences (1), and for images with channels last (-1).

    Returns
    -------
    Tensor, shape (batch, *places, features)
        A view.

    Raises
    ------
    ShapeError
        If there is no such axis beside the batch.

    Examples
    --------
    >>> features_last(torch.zeros(5, 16, 7, 8)).shape, features_last(torch.zeros(5, 12, 64)).shape
    (torch.Size([5, 7, 8, 16]), torch.Size([5, 12, 64]))
    """
    return activation.movedim(feature_axis_of(activation, feature_axis), -1)


def feature_axis_of(activation: Tensor, feature_axis: int | None = None) -> int:
    """Say along which axis of an activation its features run; see `features_last`.

    Raises
    ------
    ShapeError
        If there is no such axis beside the batch.

    Examples
    --------
    >>> feature_axis_of(torch.zeros(5, 16, 7, 8)), feature_axis_of(torch.zeros(5, 12, 64))
    (1, -1)
    """
    axes = activation.ndim
    axis = feature_axis if feature_axis is not None else (-1 if axes == 3 else 1)
    if not -axes < axis < axes or axis == 0:
        raise ShapeError(
            f"`feature_axis` must be an axis of the activation beside the batch; got {axis} for shape "
            f"{tuple(activation.shape)}."
        )
    return axis


def _pooled(
    forward: Logits, layer: str, inputs: Tensor, pool: str, feature_axis: int | None, batch_size: int
) -> tuple[Tensor, Tensor]:
    """Pool the layer's activation over places, (rows, features), and average it over both, (features,).

    The first is float64 and on the CPU, the second as the layer gives it.
    """
    pooled, means = [], []
    for part in torch.split(inputs, batch_size):
        _, layers = with_layers(forward, part.clone(), [layer])
        features = features_last(layers[layer], feature_axis)
        places = features.flatten(1, -2) if features.ndim > 2 else features.unsqueeze(1)
        means.append(places.mean(dim=1))
        pooled.append(means[-1] if pool == "mean" else places.amax(dim=1))
    # Doubled on the CPU: not every accelerator has float64.
    mean = torch.cat(means).cpu().double().mean(dim=0).to(means[0])
    return torch.cat(pooled).cpu().double(), mean


def _pattern(affected: Tensor, clean: Tensor, penalty: float) -> Tensor:
    """Covariance with the artefact: for two groups, in closed form."""
    return affected.mean(dim=0) - clean.mean(dim=0)


def _ridge(affected: Tensor, clean: Tensor, penalty: float) -> Tensor:
    """Weights of a ridge classifier."""
    from sklearn.linear_model import RidgeClassifier

    return _weights(RidgeClassifier(alpha=penalty, class_weight="balanced"), affected, clean)


def _svm(affected: Tensor, clean: Tensor, penalty: float) -> Tensor:
    """Weights of a linear support vector machine."""
    from sklearn.svm import LinearSVC

    return _weights(LinearSVC(C=1 / penalty, class_weight="balanced", random_state=0), affected, clean)


def _weights(classifier: Any, affected: Tensor, clean: Tensor) -> Tensor:
    """Fit a scikit-learn classifier to the two groups."""
    rows = torch.cat([affected, clean]).numpy()
    classifier.fit(rows, [1] * len(affected) + [0] * len(clean))
    # Some classifiers hold one row of weights for the second class, some the row alone.
    return torch.from_numpy(classifier.coef_).reshape(-1).to(affected)


DIRECTIONS: dict[str, Callable[[Tensor, Tensor, float], Tensor]] = {"pattern": _pattern, "ridge": _ridge, "svm": _svm}
