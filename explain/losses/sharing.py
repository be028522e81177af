"""One forward pass for the task loss and the rationale loss."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..batch import Batch, Logits, Rationale, check_given
from ..errors import KindError
from ..layers import module_of, twice_differentiable, with_layers
from ..target import check_logits
from .contract import RationaleLoss
from .training_calls import TrainingCalls

__all__ = ["ask", "shared_pass"]


def shared_pass(
    forward: Logits, batch: Batch, rationale: Rationale, loss: RationaleLoss | None
) -> tuple[Tensor, Batch]:
    """Run a model once for both the task loss and the rationale loss, where that is the same thing.

    A penalty that takes a pass of its own costs up to as much again as the step. It can use the pass
    of the task loss when every row is annotated, and when that pass says what the model held still
    would say: not with batch normalisation or dropout in training mode, nor with gradients disabled.
    The values and gradients of the penalty are then those of a pass of its own.

    Parameters
    ----------
    forward : Forward, module or function
        Model inputs to logits.
    batch : Batch
        Inputs and labels.
    rationale : Rationale
        What was said.
    loss : RationaleLoss or None
        What will be asked afterwards, with the batch returned.

    Returns
    -------
    logits : Tensor, shape (batch, classes), float
        For the task loss.
    batch : Batch
        With logits and layers if they can be shared, else the one given. Task loss and penalty then
        hang on one graph: add them up before the backward pass.

    Raises
    ------
    KindError
        If the model returns no tensor, or these are no `Batch` and `Rationale`.
    ShapeError
        If the masks have not one row per example, or the logits are not (batch, classes).

    Notes
    -----
    Batch and instance normalisation, dropout, and recurrent layers, attention and randomised ReLUs of
    torch are known to behave differently in training mode, as layers and as functions. Other code that
    does, such as noise that a model draws itself, is not seen, nor is what a compiled or scripted module
    calls: of such a model the penalty is then that of training mode where all rows are annotated.

    Examples
    --------
    >>> import torch
    >>> from explain import RightReasons, mean_penalty
    >>> batch = Batch(torch.tensor([[1.0, 7.0]]), torch.tensor([0]))
    >>> said, loss = Rationale(irrelevant=torch.tensor([[True, False]])), RightReasons()
    >>> net = nn.Linear(2, 2)
    >>> logits, batch = shared_pass(net, batch, said, loss)
    >>> total = nn.functional.cross_entropy(logits, batch.labels) + mean_penalty(loss, net, batch, said)
    >>> batch.logits is logits
    True
    """
    check_given(batch, rationale)
    parts = [] if loss is None else [part for part in loss.parts() if part.shares]
    everywhere = any(bool(part.annotated_rows(batch, rationale).all()) for part in parts)
    if not everywhere or not torch.is_grad_enabled() or _differs_in_training(forward):
        logits = forward(batch.inputs.clone())  # what a model does first may be in place
        check_logits(logits)
        return logits, batch
    inputs = batch.inputs.detach()
    if inputs.is_floating_point():
        inputs = inputs.requires_grad_()
    given = inputs.clone()
    names = tuple(dict.fromkeys(name for part in parts for name in part.layer_names))
    with twice_differentiable(forward), TrainingCalls() as calls:
        logits, layers = with_layers(forward, given, names) if names else (forward(given), {})
    check_logits(logits)
    if calls.seen:
        return logits, batch
    return logits, Batch(inputs, batch.labels, logits, layers, module_of(forward))


def ask(forward: Logits, batch: Batch, names: Sequence[str] = ()) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Return the inputs as part of a graph, and the logits and layers that follow from them.

    Parameters
    ----------
    forward : Forward, module or function
        Model inputs to logits.
    batch : Batch
        Its own pass is taken if it has one with these layers.
    names : sequence of str
        Layers wanted.

    Returns
    -------
    inputs : Tensor, shape (batch, *event)
        Requiring a gradient if they are floating point.
    logits : Tensor, shape (batch, classes), float
    layers : dict of str to Tensor

    Raises
    ------
    KindError, ShapeError
        If the model returns no tensor of that shape, or the batch holds a pass of another model.
    LayerError
        If there is no such layer, or it gives no tensor.
    """
    if batch.logits is not None and all(name in batch.layers for name in names):
        module = module_of(forward)
        if batch.ran is not None and module is not None and module is not batch.ran:
            raise KindError(
                f"`batch` holds a pass of another model ({type(batch.ran).__name__}) than the one asked "
                f"({type(module).__name__}). Give the batch as it was before `shared_pass`, or share one of this model."
            )
        return batch.inputs, batch.logits, {name: batch.layers[name] for name in names}
    inputs = batch.inputs.detach()
    if inputs.is_floating_point():
        inputs = inputs.requires_grad_()
    given = inputs.clone()  # what a model does first may be in place
    logits, layers = with_layers(forward, given, names) if names else (forward(given), {})
    check_logits(logits)
    return inputs, logits, layers


def _differs_in_training(forward: Logits) -> bool:
    """Whether a model may answer otherwise now than when it is held still."""
    module = module_of(forward)
    if module is None:
        return True
    return any(part.training and _minds_training(part) for part in module.modules())


def _minds_training(part: nn.Module) -> bool:
    """Whether training mode changes what a layer does: it looks at other rows, or draws at random."""
    if isinstance(part, nn.modules.dropout._DropoutNd):
        return part.p > 0
    if isinstance(part, (nn.RNNBase, nn.MultiheadAttention)):
        return part.dropout > 0
    return isinstance(part, (nn.modules.batchnorm._NormBase, nn.RReLU))
