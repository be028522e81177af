"""Training a classifier: plainly, and again with what a person said about its inputs.

One loop serves both. It knows rows only by number: `draw` turns numbers into tensors.
"""

import math
import time
import warnings
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from explain import (
    Batch,
    Counterexample,
    Rationale,
    RationaleLoss,
    RightReasons,
    Swap,
    balanced,
    mean_penalty,
    shared_pass,
)

from .classifier import Classifier
from .errors import RunError
from .guard import Draw, Guard, draw_batch
from .modes import seeded, training_mode
from .progress import Progress, reporting
from .record import (
    DivergedError,
    InterruptedTrainingWarning,
    Step,
    Training,
    TrainingSettings,
    UnchangedModelWarning,
)
from .schedule import learning_rate, row_batches

__all__ = ["fine_tune", "fit", "train"]

# A fine-tune looks at its validation rows this often, and once before it starts.
CHECKS = 10


def fit(
    classifier: Classifier,
    draw: Draw,
    rows: NDArray[np.int64] | int,
    *,
    steps: int,
    batch_size: int = 256,
    lr: float = 1e-3,
    seed: int = 0,
    beta2: float = 0.999,
    weight_decay: float = 0.0,
    warmup: int = 0,
    decay: str = "constant",
    progress: Progress = True,
) -> Training:
    """Train a copy of a classifier plainly: cross-entropy, by AdamW.

    Parameters
    ----------
    classifier : Classifier
        Where to start; not changed.
    draw : callable
        From row numbers, shape (batch,), int64, to model inputs, shape (batch, *event), labels,
        shape (batch,), int64, and a mask, which is ignored here.
    rows : ndarray of int64, or int
        Rows to train on, or how many there are.
    steps, batch_size, lr, seed, beta2, weight_decay, warmup, decay
        See `TrainingSettings`.
    progress : bool or callable
        Whether to show a bar; or what to call with each `Step`.

    Returns
    -------
    Training
        With the new classifier; the same seed on the same CPU gives the same bits.

    Raises
    ------
    RunError
        If there are no rows, a setting or a label is out of range, or no weight can be trained.
    DivergedError
        If the loss is no longer a number.

    Examples
    --------
    >>> x, y = torch.tensor([[-1.0], [1.0]]), torch.tensor([0, 1])
    >>> start = Classifier(nn.Linear(1, 2), classes=("below", "above"))
    >>> done = fit(start, lambda rows: (x[rows], y[rows], None), 2, steps=50, lr=0.1, progress=False)
    >>> done.model(x).argmax(dim=1)
    tensor([0, 1])
    """
    settings = TrainingSettings(
        steps=steps,
        batch_size=batch_size,
        lr=lr,
        seed=seed,
        beta2=beta2,
        weight_decay=weight_decay,
        warmup=warmup,
        decay=decay,
    )
    return train(classifier, draw, rows, settings, progress=progress)


def fine_tune(
    classifier: Classifier,
    draw: Draw,
    rows: NDArray[np.int64] | int,
    *,
    steps: int = 120,
    batch_size: int = 256,
    lr: float = 6e-3,
    seed: int = 0,
    loss: RationaleLoss | None = RightReasons(weight=0.02),  # noqa: B008 - frozen
    counterexamples: Counterexample | None = Swap(),  # noqa: B008 - frozen
    penalty_from: float | None = None,
    validation: NDArray[np.int64] | None = None,
    beta2: float = 0.95,
    weight_decay: float = 0.0,
    warmup: int = 10,
    decay: str = "cosine",
    progress: Progress = True,
) -> Training:
    """Train a copy of a classifier again, so that it obeys what a person said.

    Task loss on counterexamples, then a rationale loss on the rows as they are. The defaults are
    what did best on networks fooled by a decoy: a fresh Adam with a short memory (the old one's
    scales belong to the shortcut), a short warm-up, and a learning rate that falls to zero.
    Refilled regions teach at once that the mark tells nothing, while the penalty alone first makes
    a fooled network worse; from half way a small penalty takes away what saliency is left.

    Parameters
    ----------
    classifier : Classifier
        Where to start; not changed. Running statistics of normalisation layers stay as they are.
    draw : callable
        From row numbers, shape (batch,), int64, to model inputs, shape (batch, *event), labels,
        shape (batch,), int64, and what must not matter: a mask, shape (batch, *event) or without
        the channel axis, bool, or None; or a `Rationale`, which also says what should matter. Rows
        without a mark are trained on as they are.
    rows : ndarray of int64, or int
        Rows to train on, or how many there are.
    steps, batch_size, lr, seed, loss, counterexamples, penalty_from, beta2, weight_decay, warmup, decay
        See `TrainingSettings`. By default the penalty starts half way where there are counterexamples,
        and at once where it is alone.
    validation : ndarray of int64, or None
        Rows to choose the state by, drawn by the same `draw` and not among `rows`. Their marked
        regions are refilled, so that a shortcut cannot choose. None keeps the last state.
    progress : bool or callable
        Whether to show a bar; or what to call with each `Step`.

    Returns
    -------
    Training
        With the new classifier; the same seed on the same CPU gives the same bits. After Ctrl-C it
        holds what there is, and a warning says so.

    Raises
    ------
    RunError
        If there are no rows, a setting or a label is out of range, or no weight can be trained.
    ExplainError
        If a mask is not boolean or does not fit the inputs.
    DivergedError
        If the loss is no longer a number; it carries what was trained.

    Warns
    -----
    InterruptedTrainingWarning
        If it was interrupted.
    UnchangedModelWarning
        If no state did better on the validation rows than the start, which is returned.

    Examples
    --------
    Two features agree; a person says that the second must not matter:

    >>> x, y = torch.tensor([[-1.0, -1.0], [1.0, 1.0]]), torch.tensor([0, 1])
    >>> mark = torch.tensor([[False, True]]).expand(2, 2)
    >>> start = Classifier(nn.Linear(2, 2), classes=("below", "above"))
    >>> done = fine_tune(start, lambda rows: (x[rows], y[rows], mark[rows]), 2, lr=0.1, progress=False)
    >>> done.model(torch.tensor([[1.0, -1.0], [-1.0, 1.0]])).argmax(dim=1)
    tensor([1, 0])
    """
    settings = TrainingSettings(
        steps=steps,
        batch_size=batch_size,
        lr=lr,
        seed=seed,
        beta2=beta2,
        weight_decay=weight_decay,
        warmup=warmup,
        decay=decay,
        counterexamples=counterexamples,
        loss=loss,
        penalty_from=first_penalty(counterexamples) if penalty_from is None else penalty_from,
        freeze_statistics=True,
    )
    return train(classifier, draw, rows, settings, validation=validation, progress=progress)


def first_penalty(counterexamples: Counterexample | None) -> float:
    """Return the share of the steps after which a rationale loss starts: half beside counterexamples, else none."""
    return 0.0 if counterexamples is None else 0.5


def train(
    classifier: Classifier,
    draw: Draw,
    rows: NDArray[np.int64] | int,
    settings: TrainingSettings,
    *,
    validation: NDArray[np.int64] | None = None,
    progress: Progress = True,
) -> Training:
    """Train a copy of a classifier by settings kept from before: what `fit` and `fine_tune` call.

    Parameters
    ----------
    classifier, draw, rows, validation, progress
        As for `fine_tune`.
    settings : TrainingSettings
        From a recipe, or from `Training.settings` to repeat a training.

    Returns
    -------
    Training
        With the new classifier: the best state by `validation`, else the last.

    Raises
    ------
    RunError, ExplainError, DivergedError
        As for `fine_tune`.

    Examples
    --------
    >>> x, y = torch.tensor([[-1.0], [1.0]]), torch.tensor([0, 1])
    >>> start = Classifier(nn.Linear(1, 2), classes=("below", "above"))
    >>> settings = TrainingSettings(steps=5, batch_size=2, lr=0.1)
    >>> train(start, lambda rows: (x[rows], y[rows], None), 2, settings, progress=False).selection
    'last state kept, chosen by nothing'
    """
    started = time.perf_counter()
    trained = classifier.copy()
    weights = [weight for weight in trained.module.parameters() if weight.requires_grad]
    if not weights:
        raise RunError("A classifier must have weights to train; none of this one's requires a gradient.")
    optimizer = torch.optim.AdamW(
        weights, lr=settings.lr, betas=(0.9, settings.beta2), weight_decay=settings.weight_decay
    )
    generator = torch.Generator().manual_seed(settings.seed)
    batches = row_batches(_row_numbers(rows), settings.batch_size, settings.seed)
    guard = None
    if validation is not None:
        # Larger batches than in training, because nothing has to be remembered for a gradient.
        guard = Guard(draw, _row_numbers(validation), 4 * settings.batch_size, settings.seed)
    steps: list[Step] = []
    loss = settings.loss

    def result(*, interrupted: bool = False) -> Training:
        if guard is not None:
            guard.restore(trained)
        return Training(
            model=trained,
            settings=settings,
            loss=loss,
            steps=tuple(steps),
            checks=() if guard is None else tuple(guard.checks),
            kept_step=len(steps) if guard is None or guard.step is None else guard.step,
            guarded=guard is not None and guard.guarded,
            interrupted=interrupted,
            seconds=time.perf_counter() - started,
        )

    with (
        seeded(settings.seed, weights[0].device),
        training_mode(trained.module, settings.freeze_statistics),
        reporting(progress, settings.steps) as report,
    ):
        try:
            if guard is not None:
                guard.check(trained, 0)
            for number in range(settings.steps):
                lr = learning_rate(
                    number, settings.steps, peak=settings.lr, warmup=settings.warmup, decay=settings.decay
                )
                for group in optimizer.param_groups:
                    group["lr"] = lr

                inputs, labels, rationale = draw_batch(draw, next(batches), trained)
                batch = Batch(inputs, labels)
                penalised = loss is not None and number >= settings.penalty_from * settings.steps
                if settings.counterexamples is None:
                    logits, batch = shared_pass(trained, batch, rationale, loss if penalised else None)
                    task = nn.functional.cross_entropy(logits, labels)
                else:
                    told = settings.counterexamples(batch, rationale, generator)
                    task = nn.functional.cross_entropy(trained(told.inputs), told.labels)
                penalty = torch.zeros_like(task)
                if loss is not None and penalised:
                    loss = _settled(loss, trained, batch, rationale, task.item())
                    if loss.settled:
                        penalty = mean_penalty(loss, trained, batch, rationale)

                optimizer.zero_grad()
                # Of the inputs of a shared pass, no gradient is wanted.
                torch.autograd.backward(task + penalty, inputs=weights)
                _check_finite(task + penalty, weights, number, result)
                optimizer.step()

                annotated = int(rationale.annotated.sum())
                steps.append(Step(number + 1, settings.steps, task.item(), penalty.item(), annotated, lr))
                report(steps[-1])
                if guard is not None and _is_due(number + 1, settings.steps):
                    guard.check(trained, number + 1)
        except KeyboardInterrupt:
            kept = result(interrupted=True)
            warnings.warn(
                f"Interrupted after {len(steps)} of {settings.steps} steps; the state after {kept.kept_step} is kept.",
                InterruptedTrainingWarning,
                stacklevel=3,
            )
            return kept
    done = result()
    if guard is not None and done.kept_step == 0:
        warnings.warn(
            f"The training did not help: on {len(guard.rows)} validation rows, marked regions refilled, no state after "
            f"{settings.steps} steps did as well as the start ({guard.checks[0].accuracy:.3f}), which is returned. "
            "Another loss, a larger weight, counterexamples, or more steps may.",
            UnchangedModelWarning,
            stacklevel=3,
        )
    return done


def _settled(
    loss: RationaleLoss, classifier: Classifier, batch: Batch, rationale: Rationale, task: float
) -> RationaleLoss:
    """Settle weights that are "auto" on the first batch about which something was said.

    Against the task loss that is trained on: with refilled regions where there are counterexamples,
    because a model that was fooled has hardly any task loss on rows as they are.
    """
    if loss.settled or not loss.annotated(rationale).any():
        return loss
    return balanced(loss, classifier, batch, rationale, task=task)


def _check_finite(loss: Tensor, weights: list[nn.Parameter], number: int, result: Callable[[], Training]) -> None:
    """Stop before a step that would make the weights meaningless."""
    size = torch.nn.utils.get_total_norm([weight.grad for weight in weights if weight.grad is not None])
    if math.isfinite(loss.item()) and math.isfinite(size.item()):
        return
    raise DivergedError(
        f"The loss and its gradient must be finite; at step {number + 1} they are {loss.item():.4g} and "
        f"{size.item():.4g}. Lower `lr` or the weight of the penalty, and look for NaN in the inputs. The "
        "classifier that it started from is unchanged; what was trained is in `error.training`.",
        result(),
    )


def _is_due(done: int, steps: int) -> bool:
    """Whether to look at the validation rows: `CHECKS` times, evenly, the last step included."""
    return done * CHECKS // steps > (done - 1) * CHECKS // steps


def _row_numbers(rows: NDArray[np.int64] | int) -> NDArray[np.int64]:
    """Row numbers, from themselves or from how many there are."""
    return np.arange(rows) if isinstance(rows, int) else np.asarray(rows, dtype=np.int64)
