"""What a step of a training brings down: task loss and penalty, in as many passes as memory asks for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from explain import Batch, Rationale, RationaleLoss, WeightedSum, balanced, mean_penalty, shared_pass

from .classifier import Classifier
from .errors import RunError
from .record import TrainingSettings

__all__ = ["Gradient", "Objective"]


@dataclass(frozen=True)
class Gradient:
    """Figures of what a gradient was taken of.

    Attributes
    ----------
    task_loss, penalty : float
        In nats; the penalty is weighted.
    annotated : int
        Rows about which something was said.
    """

    task_loss: float
    penalty: float
    annotated: int


class Objective:
    """Task loss on rows or counterexamples, and the mean of a rationale loss over annotated rows.

    Parameters
    ----------
    classifier : Classifier
        What is trained.
    settings : TrainingSettings
        Which losses, in how many passes, and in which precision.

    Attributes
    ----------
    loss : RationaleLoss or None
        The rationale loss. A weight "auto" becomes a number at the first rows that its part of the loss reads;
        until then that part is 0.
    scaler : torch.amp.GradScaler
        Scales a loss whose gradients float16 could not hold; does nothing in other precisions.

    Raises
    ------
    RunError
        If there is no such backend to compile by.

    Examples
    --------
    >>> model = Classifier(nn.Linear(1, 2, bias=False), classes=("below", "above"))
    >>> settings = TrainingSettings(steps=1, batch_size=2, lr=0.1)
    >>> batch = Batch(torch.tensor([[0.0], [0.0]]), torch.tensor([0, 1]))
    >>> found = Objective(model, settings).accumulate(batch, Rationale(), [model.module.weight], penalised=False)
    >>> round(found.task_loss, 4)
    0.6931
    """

    def __init__(self, classifier: Classifier, settings: TrainingSettings) -> None:
        self.loss: RationaleLoss | None = settings.loss
        self._classifier, self._settings = classifier, settings
        self._generator = torch.Generator().manual_seed(settings.seed)
        self._device = next(classifier.module.parameters()).device
        self._half = settings.autocast == "float16"
        self.scaler = torch.amp.GradScaler(self._device.type, enabled=self._half)
        self._compiled: Any = None
        if settings.compile:
            backend = "inductor" if settings.compile is True else settings.compile
            with _told_if_not_compiled(backend):
                # As a whole or not at all: parts that do not compile would run eagerly, and nobody would know.
                self._compiled = torch.compile(classifier.module, backend=backend, fullgraph=True)

    def accumulate(
        self, batch: Batch, rationale: Rationale, weights: list[nn.Parameter], *, penalised: bool
    ) -> Gradient:
        """Add the gradient of task loss and penalty to the one that the weights have.

        Parameters
        ----------
        batch : Batch
            All rows of a step, however many passes they take.
        rationale : Rationale
            What was said about them.
        weights : list of torch.nn.Parameter
            What is trained.
        penalised : bool
            Whether the rationale loss acts.

        Returns
        -------
        Gradient
            Means over the rows of the step: of the penalty, over those that are annotated.

        Raises
        ------
        RunError
            If the module does not compile.
        ExplainError
            If masks do not fit, or the model does not give what the loss needs.
        """
        told = batch
        if self._settings.counterexamples is not None:
            # Before the rows are parted: what refills a region comes from the whole batch.
            told = self._settings.counterexamples(batch, rationale, self._generator)
        loss = self.loss if penalised else None
        said_of = [] if loss is None else [int(part.annotated_rows(batch, rationale).sum()) for part in loss.parts()]
        task_loss = penalty = 0.0
        for part, said, told_part in self._parts(batch, rationale, told):
            task, part = self._task(part, said, told_part, loss)
            total = task * (len(told_part) / len(told))
            task_loss += total.item()
            if loss is not None and any(said_of):
                more = self._penalty(part, said, said_of, task.item())
                penalty += more.item()
                total = total + more
            with _told_if_not_compiled(self._settings.compile):
                # Of the inputs of a shared pass, no gradient is wanted.
                torch.autograd.backward(self.scaler.scale(total), inputs=weights)
        return Gradient(task_loss, penalty, int(rationale.annotated.sum()))

    def _parts(self, batch: Batch, rationale: Rationale, told: Batch) -> Iterator[tuple[Batch, Rationale, Batch]]:
        """Part the rows of a step into those of each pass; counterexamples may be more than the rows."""
        passes = min(self._settings.accumulate, len(batch))
        if passes == 1:
            yield batch, rationale, told
            return
        rows, told_rows = (torch.arange(len(one)).tensor_split(passes) for one in (batch, told))
        for some, told_some in zip(rows, told_rows, strict=True):
            part = batch.take(some)
            yield part, rationale.take(some), part if told is batch else told.take(told_some)

    def _task(self, part: Batch, said: Rationale, told: Batch, loss: RationaleLoss | None) -> tuple[Tensor, Batch]:
        """Return the task loss of one pass, and its rows with what the penalty can take over from it."""
        with self._precision():
            if self._compiled is not None:
                with _told_if_not_compiled(self._settings.compile):
                    logits = self._compiled(told.inputs)
            elif told is part:
                logits, part = shared_pass(self._classifier, part, said, None if self._half else loss)
            else:
                logits = self._classifier(told.inputs)
        logits = logits.float() if self._settings.autocast else logits
        return nn.functional.cross_entropy(logits, told.labels), part

    def _penalty(self, part: Batch, said: Rationale, said_of: list[int], task: float) -> Tensor:
        """Return what one pass adds to the mean of the penalty over all annotated rows of the step."""
        assert self.loss is not None
        with nullcontext() if self._half else self._precision():
            self.loss = self._settled(self.loss, part, said, task)
            means = [
                mean_penalty(one, self._classifier, part, said) * (int(one.annotated_rows(part, said).sum()) / count)
                for one, count in zip(self.loss.parts(), said_of, strict=True)
                if count and one.settled
            ]
        return torch.stack(means).sum() if means else torch.zeros((), device=self._device)

    def _settled(self, loss: RationaleLoss, part: Batch, said: Rationale, task: float) -> RationaleLoss:
        """Settle the weights of a loss as far as these rows can: of a sum, those parts that read something here."""
        if loss.settled:
            return loss
        if isinstance(loss, WeightedSum):
            return replace(loss, losses=tuple(self._settled(one, part, said, task) for one in loss.losses))
        if not loss.annotated_rows(part, said).any():
            return loss
        # Against the task loss that is trained on: a model that was fooled has hardly any on rows as they are.
        return balanced(loss, self._classifier, part, said, task=task)

    def _precision(self) -> AbstractContextManager[None]:
        name = self._settings.autocast
        if name is None:
            return nullcontext()
        # Without the cache: weights converted where no gradient was wanted would be taken where one is.
        return torch.autocast(self._device.type, getattr(torch, name), cache_enabled=False)


@contextmanager
def _told_if_not_compiled(backend: str | bool) -> Iterator[None]:
    """Say what to do about a module that does not compile: nothing is run eagerly instead."""
    if not backend:
        yield
        return
    from torch._dynamo.exc import TorchDynamoException

    try:
        yield
    except TorchDynamoException as error:
        raise RunError(
            f"The module must compile as a whole, by backend {'inductor' if backend is True else backend!r}; it does "
            f"not: {str(error).strip().splitlines()[0]} Train it without `compile`."
        ) from error
