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

from explain import Batch, Counterexample, RationaleLoss, RightReasons, Swap

from .classifier import Classifier
from .errors import RunError
from .guard import Draw, Guard, annotated_rows, draw_batch
from .modes import changing_buffers, seeded, training_mode, undivided
from .objective import Gradient, Objective
from .progress import Progress, Watch, reporting
from .record import (
    DivergedError,
    InterruptedTrainingWarning,
    Step,
    Training,
    TrainingSettings,
    warn_of_selection,
)
from .schedule import balanced_batches, is_due, learning_rate, row_batches
from .weights import TrainedWeights

__all__ = ["fine_tune_rows", "fit_rows", "train"]


def fit_rows(
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
    >>> done = fit_rows(start, lambda rows: (x[rows], y[rows], None), 2, steps=50, lr=0.1, progress=False)
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


def fine_tune_rows(
    classifier: Classifier,
    draw: Draw,
    rows: NDArray[np.int64] | int,
    *,
    steps: int = 120,
    batch_size: int = 256,
    lr: float = 6e-3,
    seed: int = 0,
    loss: RationaleLoss | None = RightReasons(weight=0.02),  # noqa: B008 - frozen
    counterexamples: Counterexample | None = Swap(lend=0.5),  # noqa: B008 - frozen
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
    UnguardedWarning
        If fewer than one in twenty of the validation rows have a mark of what must not matter.

    Examples
    --------
    Two features agree; a person says that the second must not matter:

    >>> x, y = torch.tensor([[-1.0, -1.0], [1.0, 1.0]]), torch.tensor([0, 1])
    >>> mark = torch.tensor([[False, True]]).expand(2, 2)
    >>> start = Classifier(nn.Linear(2, 2), classes=("below", "above"))
    >>> done = fine_tune_rows(start, lambda rows: (x[rows], y[rows], mark[rows]), 2, lr=0.1, progress=False)
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
    annotated: NDArray[np.int64] | None = None,
    progress: Progress = True,
    watch: Watch | None = None,
) -> Training:
    """Train a copy of a classifier by settings kept from before: what `fit_rows` and `fine_tune_rows` call.

    Parameters
    ----------
    classifier, draw, rows, validation, progress
        As for `fine_tune_rows`.
    settings : TrainingSettings
        From a recipe, or from `Training.settings` to repeat a training.
    annotated : ndarray of int64, optional
        Rows about which something was said, for `settings.balance`; by default all rows are drawn once to see.
    watch : Watch, optional
        Told everything as it happens, and given each state to keep.

    Returns
    -------
    Training
        With the new classifier: the best state by `validation`, else the last.

    Raises
    ------
    RunError, ExplainError, DivergedError
        As for `fine_tune_rows`.

    Examples
    --------
    >>> x, y = torch.tensor([[-1.0], [1.0]]), torch.tensor([0, 1])
    >>> start = Classifier(nn.Linear(1, 2), classes=("below", "above"))
    >>> settings = TrainingSettings(steps=5, batch_size=2, lr=0.1)
    >>> train(start, lambda rows: (x[rows], y[rows], None), 2, settings, progress=False).selection
    'last state kept, chosen by nothing'
    """
    started = time.perf_counter()
    if settings.patience is not None and validation is None:
        raise RunError("`patience` counts looks at validation rows; give `validation`, or leave it None.")
    numbers = _row_numbers(rows)
    batches = row_batches(numbers, settings.batch_size, settings.seed)
    if settings.balance is not None:
        said = annotated_rows(draw, numbers, settings.batch_size) if annotated is None else annotated
        batches = balanced_batches(numbers, said, settings.batch_size, settings.balance, settings.seed)
    # Larger batches than in training, because nothing has to be remembered for a gradient.
    guard = None
    if validation is not None:
        guard = Guard(draw, _row_numbers(validation), 4 * settings.batch_size, settings.seed)
    trained = classifier.copy()
    weights = TrainedWeights(trained, settings.weights, settings.seed)
    objective = Objective(trained, settings)
    optimizer = torch.optim.AdamW(
        weights.trained, lr=settings.lr, betas=(0.9, settings.beta2), weight_decay=settings.weight_decay
    )
    penalty_start = settings.penalty_from * settings.steps
    steps: list[Step] = []
    best: tuple[int, dict[str, Tensor]] | None = None

    # What a step that is not over yet has changed already.
    undo: list[tuple[nn.Module, str, Tensor]] = []

    def result(*, interrupted: bool = False, stopped_early: bool = False) -> Training:
        for part, name, value in undo:
            setattr(part, name, value)
        step, state = (len(steps), weights.state()) if best is None else best
        weights.finish(state)
        return Training(
            model=trained,
            settings=settings,
            loss=objective.loss,
            steps=tuple(steps),
            checks=() if guard is None else tuple(guard.checks),
            kept_step=step,
            guarded=guard is not None and guard.guarded,
            refilled=0 if guard is None else guard.refilled,
            chosen_on=0 if guard is None else len(guard.rows),
            interrupted=interrupted,
            seconds=time.perf_counter() - started,
            stopped_early=stopped_early,
        )

    with (
        seeded(settings.seed, weights.trained[0].device),
        training_mode(trained.module, settings.freeze_statistics or settings.weights != "all"),
        weights.additions_seen(),
        reporting(progress, settings.steps, watch) as told,
    ):
        told.began(settings, settings.loss)

        def look() -> None:
            """Look at the validation rows, and keep the state if none before was clearly better."""
            nonlocal best
            done = len(steps)
            if guard is None:
                if watch is not None and done:
                    told.kept(done, weights.state())
                return
            keep = guard.check(trained, done)
            told.checked(guard.checks[-1])
            if keep:
                best = done, weights.state()
                told.kept(*best)

        stopped_early = False
        try:
            look()
            for number in range(settings.steps):
                lr = learning_rate(
                    number, settings.steps, peak=settings.lr, warmup=settings.warmup, decay=settings.decay
                )
                for group in optimizer.param_groups:
                    group["lr"] = lr

                inputs, labels, rationale = draw_batch(draw, next(batches), trained)
                optimizer.zero_grad()
                undo = changing_buffers(trained.module)
                found = objective.accumulate(
                    Batch(inputs, labels), rationale, weights.trained, penalised=number >= penalty_start
                )
                objective.scaler.unscale_(optimizer)
                _check_finite(found, weights.trained, objective.scaler, number, result)
                with undivided():
                    objective.scaler.step(optimizer)
                    objective.scaler.update()
                    steps.append(Step(number + 1, settings.steps, found.task_loss, found.penalty, found.annotated, lr))
                    undo = []
                told.stepped(steps[-1])
                if is_due(number + 1, settings.steps, settings.checks):
                    look()
                    if guard is not None and settings.patience is not None:
                        since = 0 if settings.loss is None else penalty_start
                        stopped_early = guard.without_gain(since) >= settings.patience
                if stopped_early:
                    break
        except KeyboardInterrupt:
            kept = result(interrupted=True)
            warnings.warn(
                f"Interrupted after {len(steps)} of {settings.steps} steps; the state after {kept.kept_step} is kept.",
                InterruptedTrainingWarning,
                stacklevel=3,
            )
            return kept
    done = result(stopped_early=stopped_early)
    if guard is not None:
        warn_of_selection(done, stacklevel=3)
    return done


def _check_finite(
    found: Gradient,
    weights: list[nn.Parameter],
    scaler: torch.amp.GradScaler,
    number: int,
    result: Callable[[], Training],
) -> None:
    """Stop before a step that would make the weights meaningless."""
    loss = found.task_loss + found.penalty
    size = torch.nn.utils.get_total_norm([weight.grad for weight in weights if weight.grad is not None])
    # A scale that was too large for float16 is halved, and its step left out: that is how it is found.
    scaled = scaler.is_enabled() and scaler.get_scale() > 1
    if math.isfinite(loss) and (scaled or math.isfinite(size.item())):
        return
    raise DivergedError(
        f"The loss and its gradient must be finite; at step {number + 1} they are {loss:.4g} and "
        f"{size.item():.4g}. Lower `lr` or the weight of the penalty, and look for NaN in the inputs. The "
        "classifier that it started from is unchanged; what was trained is in `error.training`.",
        result(),
    )


def _row_numbers(rows: NDArray[np.int64] | int) -> NDArray[np.int64]:
    """Row numbers, from themselves or from how many there are."""
    return np.arange(rows) if isinstance(rows, int) else np.asarray(rows, dtype=np.int64)
