"""Gradients of an output with respect to the inputs."""

import torch
from torch import Tensor

from ..as_used import as_used
from ..attribution import Attribution
from ..batch import Logits, check_float
from ..errors import GraphError
from ..target import Target, target_values
from .pinned import check_repeatable

__all__ = ["gradient_of", "gradient_times_input", "input_gradient"]


@as_used
def input_gradient(
    forward: Logits,
    inputs: Tensor,
    target: Target = "max_log_probability",
    labels: Tensor | None = None,
) -> Attribution:
    """Differentiate the target of each row with respect to its inputs.

    The simplest saliency: to first order, how the target answers to a small change of each input.
    Works under ``torch.no_grad`` and ``torch.inference_mode`` too, and leaves no trace: neither
    ``requires_grad`` nor ``.grad`` of the inputs or of the weights changes, nor the mode of the model,
    which is asked as it is used, in evaluation mode (`as_used`).

    Parameters
    ----------
    forward : Forward, module or function
        Model inputs to logits, shape (batch, classes).
    inputs : Tensor, shape (batch, *event), float
        Model inputs in the model's own unit.
    target : str, int or callable
        What is explained; see `target_values`.
    labels : Tensor or None, shape (batch,), int64
        For the target ``label_log_probability``.

    Returns
    -------
    Attribution
        With `scores` of the shape of `inputs`, in units of the target per input unit.

    Raises
    ------
    KindError
        If `inputs` are integers.
    GraphError
        If the logits do not depend on the inputs through autograd.
    ShapeError, TargetError
        See `target_values`.

    Notes
    -----
    A row gets the same scores alone and in any batch, as long as the model, in evaluation mode, does
    not let rows influence each other.

    Examples
    --------
    >>> weights = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    >>> input_gradient(lambda x: x @ weights, torch.zeros(1, 2), target=1).scores
    tensor([[0., 2.]])
    """
    check_float(inputs)
    check_repeatable(target)
    with torch.enable_grad():
        leaf = inputs.detach().clone().requires_grad_()
        # A copy, because the first thing that a model does may be in place.
        values = target_values(forward(leaf.clone()), target, labels)
        scores = gradient_of(values, leaf, create_graph=False)
    return Attribution(scores.detach(), target, "input_gradient")


@as_used
def gradient_times_input(
    forward: Logits,
    inputs: Tensor,
    target: Target = "max_log_probability",
    labels: Tensor | None = None,
) -> Attribution:
    """Multiply the gradient of the target by the inputs, element by element [1]_.

    What the inputs contribute to a model that is linear around them, against a baseline of zero. An
    element that is zero gets zero, whatever the model does with it.

    Parameters
    ----------
    forward, inputs, target, labels
        As for `input_gradient`.

    Returns
    -------
    Attribution
        With `scores` of the shape of `inputs`, in units of the target.

    Raises
    ------
    KindError, GraphError, ShapeError, TargetError
        As `input_gradient`.

    References
    ----------
    .. [1] A. Shrikumar, P. Greenside, A. Shcherbina, A. Kundaje, "Not Just a Black Box: Learning
       Important Features Through Propagating Activation Differences", arXiv:1605.01713, 2016.

    Examples
    --------
    >>> weights = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    >>> gradient_times_input(lambda x: x @ weights, torch.tensor([[5.0, 3.0]]), target=1).scores
    tensor([[0., 6.]])
    """
    gradient = input_gradient(forward, inputs, target, labels)
    return Attribution(gradient.scores * inputs.detach(), target, "gradient_times_input")


def gradient_of(values: Tensor, inputs: Tensor, *, create_graph: bool) -> Tensor:
    """Differentiate one value per row with respect to the inputs of that row.

    Parameters
    ----------
    values : Tensor, shape (batch,), float
        Computed from `inputs`, row by row.
    inputs : Tensor, shape (batch, *event), float
        With ``requires_grad`` set before the forward pass.
    create_graph : bool
        Whether the gradient is itself to be differentiated, as a training loss needs.

    Returns
    -------
    Tensor, shape (batch, *event), float
        In units of the value per input unit.

    Raises
    ------
    GraphError
        If the values do not depend on the inputs through autograd.

    Examples
    --------
    >>> x = torch.tensor([[1.0, 2.0]], requires_grad=True)
    >>> gradient_of(x.square().sum(dim=1), x, create_graph=False)
    tensor([[2., 4.]])
    """
    gradient = None
    if values.requires_grad:
        (gradient,) = torch.autograd.grad(values.sum(), inputs, create_graph=create_graph, allow_unused=True)
    if gradient is None:
        raise GraphError(
            "The logits must depend on the inputs through autograd; they do not. Does the forward pass "
            "detach, round, or run under `torch.no_grad`?"
        )
    return gradient
