"""Which scalar of a model's output is explained, one per row."""

from collections.abc import Callable
from numbers import Integral
from typing import TypeAlias

import torch
from torch import Tensor

from .errors import KindError, ShapeError, TargetError
from .masks import check_tensor

__all__ = ["Target", "check_logits", "checked_target", "class_numbers", "target_name", "target_values"]

Target: TypeAlias = str | int | Callable[[Tensor], Tensor]

NAMES = (
    "max_log_probability",
    "log_probabilities",
    "label_log_probability",
    "cross_entropy",
    "max_logit",
    "label_logit",
    "random_sign_logits",
)

ONE_LOGIT = (
    "One logit: a softmax over it is constant; use target=0, or give (batch, 2) logits with the probabilities of a "
    "sigmoid: torch.cat([-z, z], 1) / 2."
)

# A softmax over one class is 1 whatever the logit: these would be zero, and so would every explanation of them.
BY_SOFTMAX = ("max_log_probability", "log_probabilities", "label_log_probability", "cross_entropy")


def target_values(logits: Tensor, target: Target, labels: Tensor | None = None) -> Tensor:
    """Take the scalar to explain from the logits of each row.

    =========================  ==================================================================
    target                     scalar per row
    =========================  ==================================================================
    ``max_log_probability``    log-probability of the class predicted: what saliency shows
    ``log_probabilities``      sum over classes of the log-probabilities: what [1]_ penalises. (The
                               probabilities sum to one, so that *their* sum explains nothing.)
    ``label_log_probability``  log-probability of the label given
    ``cross_entropy``          minus the above: the task loss
    ``max_logit``              largest logit
    ``label_logit``            logit of the label given
    ``random_sign_logits``     sum of the logits with random signs, drawn anew at each call from torch's
                               global generator: the square of its gradient is, in expectation, that of
                               all logits' gradients together. For training only
    an integer                 logit of that class
    a function                 whatever it returns for the logits, shape (batch,)
    =========================  ==================================================================

    Parameters
    ----------
    logits : Tensor, shape (batch, classes), float
        Unnormalised scores.
    target : str, int or callable
        One of the table.
    labels : Tensor or None, shape (batch,), int64
        Needed by ``label_log_probability``, ``cross_entropy`` and ``label_logit``.

    Returns
    -------
    Tensor, shape (batch,), float
        In nats for log-probabilities, else in the unit of the logits; differentiable.

    Raises
    ------
    ShapeError
        If `logits` is not (batch, classes), there is not one label per row, or a function returns another
        shape than (batch,).
    KindError
        If `logits` are no tensor, or labels are needed and not int64.
    TargetError
        If there is no such target or class, labels are needed and missing or no classes of these logits, or a
        log-probability is asked of a model with one logit.

    References
    ----------
    .. [1] A. S. Ross, M. C. Hughes, F. Doshi-Velez, "Right for the Right Reasons: Training
       Differentiable Models by Constraining their Explanations", IJCAI 2017.

    Examples
    --------
    >>> target_values(torch.tensor([[1.0, 3.0], [2.0, 0.5]]), "max_logit")
    tensor([3., 2.])
    """
    check_logits(logits)
    target = checked_target(target)
    if callable(target):
        values = target(logits)
        check_tensor(values, "what a target function returns")
        if tuple(values.shape) != (len(logits),):
            raise ShapeError(
                f"A target function must return one value per row, shape ({len(logits)},); got {tuple(values.shape)}."
            )
        return values
    if isinstance(target, int):
        if not 0 <= target < logits.shape[1]:
            raise TargetError(f"The class to explain must lie in [0, {logits.shape[1]}); got {target}.")
        return logits[:, target]
    if target in BY_SOFTMAX:
        check_logits(logits, softmax=True)
    if target == "max_logit":
        return _largest(logits)
    if target == "max_log_probability":
        return _largest(torch.log_softmax(logits, dim=1))
    if target == "log_probabilities":
        return torch.log_softmax(logits, dim=1).sum(dim=1)
    if target == "random_sign_logits":
        signs = torch.randint(0, 2, logits.shape, device=logits.device) * 2 - 1
        return (logits * signs).sum(dim=1)
    if labels is None:
        raise TargetError(f"The target {target!r} needs `labels`; got None.")
    scores = logits if target == "label_logit" else torch.log_softmax(logits, dim=1)
    values = scores.gather(1, class_numbers(labels, logits)[:, None]).squeeze(1)
    return -values if target == "cross_entropy" else values


def _largest(scores: Tensor) -> Tensor:
    """Take the score of the class predicted: of several alike the first, where a maximum would blame them all."""
    return scores.gather(1, scores.argmax(dim=1, keepdim=True)).squeeze(1)


def class_numbers(labels: Tensor, logits: Tensor) -> Tensor:
    """Check labels, and make them fit to take part in a gradient of the logits.

    Parameters
    ----------
    labels : Tensor, shape (batch,), int64
        One class a row.
    logits : Tensor, shape (batch, classes), float
        Of the same rows.

    Returns
    -------
    Tensor, shape (batch,), int64
        On the device of the logits.

    Raises
    ------
    ShapeError, KindError, TargetError
        As for `target_values`.

    Examples
    --------
    >>> class_numbers(torch.tensor([1]), torch.zeros(1, 2))
    tensor([1])
    """
    # Gathering by fewer labels than rows would leave rows out without a word.
    if tuple(labels.shape) != (len(logits),):
        raise ShapeError(f"`labels` must have shape ({len(logits)},), one per row; got {tuple(labels.shape)}.")
    if labels.dtype != torch.int64:
        raise KindError(f"`labels` must be class numbers, int64; got {labels.dtype}.")
    strange = labels[(labels < 0) | (labels >= logits.shape[1])]
    if len(strange):
        one = f" {ONE_LOGIT}" if logits.shape[1] == 1 else ""
        raise TargetError(f"`labels` must lie in [0, {logits.shape[1]}), the classes; got {int(strange[0])}.{one}")
    # Tensors made in inference mode cannot be saved for a backward pass outside of it.
    made_there = labels.is_inference() and not torch.is_inference_mode_enabled()
    return (labels.clone() if made_there else labels).to(logits.device)


def check_logits(logits: Tensor, *, softmax: bool = False) -> None:
    """Raise unless a model returned logits.

    Parameters
    ----------
    logits : Tensor, shape (batch, classes), float
        What the model returned.
    softmax : bool
        Whether probabilities are to be made of them, which takes two classes at least.

    Raises
    ------
    KindError
        If this is no tensor.
    ShapeError
        If it has another shape.
    TargetError
        If there is one class, and probabilities are asked for.

    Examples
    --------
    >>> check_logits(torch.zeros(5, 2), softmax=True)
    """
    if not isinstance(logits, Tensor):
        raise KindError(
            f"The model must return logits, a tensor (batch, classes); got {type(logits).__name__}. "
            "Wrap it in a function or a module that takes them out: lambda x: net(x).logits."
        )
    if logits.ndim != 2:
        one = " For one logit a row, (batch, 1): net(x)[:, None]." if logits.ndim == 1 else ""
        raise ShapeError(f"Logits must have shape (batch, classes); got {tuple(logits.shape)}.{one}")
    if softmax and logits.shape[1] == 1:
        raise TargetError(f"A probability needs two classes; got {tuple(logits.shape)}. {ONE_LOGIT}")


def checked_target(target: Target) -> Target:
    """Return a target that can be asked of all rows, a class number as an int of Python's.

    Raises
    ------
    TargetError
        If it is a tensor, for labels come apart from the target, or none of the table of `target_values`.

    Examples
    --------
    >>> checked_target("label_logit")
    'label_logit'
    """
    given: object = target
    if isinstance(given, Tensor):
        raise TargetError(
            "`target` is one for all rows; got a tensor of shape "
            f'{tuple(given.shape)}. For a class of its own for each row: target="label_logit", labels=y.'
        )
    if not isinstance(given, bool) and isinstance(given, Integral):  # a bool is never meant as a class
        return int(given)
    if not callable(given) and given not in NAMES:
        raise TargetError(
            f"`target` must be a class number, a function of the logits, or one of {', '.join(NAMES)}; got {given!r}."
        )
    return target


def target_name(target: Target) -> str:
    """Name a target in words, for records and captions.

    Parameters
    ----------
    target : str, int or callable
        As for `target_values`.

    Returns
    -------
    str
        The name itself, ``class 3``, or the name of the function.

    Examples
    --------
    >>> target_name(3)
    'class 3'
    """
    if isinstance(target, str):
        return target
    if isinstance(target, int):
        return f"class {target}"
    return getattr(target, "__qualname__", repr(target))
