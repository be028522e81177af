"""Candidates: the rows that a query chooses among, and what the model says about them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import normalize

import explain
from columns.column import as_batch, read_columns
from explain.clusters import downsized

from ..classifier import Classifier
from ..errors import LoopError
from ..modes import seeded

if TYPE_CHECKING:
    from ..panel import DataPanel

__all__ = ["Candidates", "dropping", "like_groups"]

# Rows in one pass: a fixed number, so that the same rows get the same last bits.
_PASS = 256

_DROPOUT = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)


class Candidates:
    """Rows that may be asked about, and the answered ones beside them, seen by a model.

    What is computed is kept for the round: probabilities and small maps, never inputs.

    Parameters
    ----------
    panel : DataPanel
        The rows.
    answered : ndarray, shape (rows,), bool
        Which of them have been answered: they are there to compare with, and never asked again.
    model : Classifier
        As trained so far.
    labels : ndarray, shape (rows,), int64, optional
        Class number of each row, as far as known; -1 where it is not.
    method, target : str
        What explains: a key of `explain.METHODS`, and what it explains.
    seed, round : int
        Draw what is drawn.
    """

    def __init__(
        self,
        panel: DataPanel,
        answered: NDArray[np.bool_],
        model: Classifier,
        *,
        labels: NDArray[np.int64] | None = None,
        method: str = "gradient_times_input",
        target: str = "max_logit",
        seed: int = 0,
        round: int = 0,
    ) -> None:
        self.panel, self.answered, self.model = panel, answered, model
        self.labels = np.full(len(panel), -1) if labels is None else labels
        self.method, self.target, self.seed, self.round = method, target, seed, round
        self._maps: dict[str, Tensor] = {}

    def __len__(self) -> int:
        return len(self.panel)

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield places, shape (batch,), int64, and model inputs, on the device of the model; null rows are left out."""
        weight = next(self.model.module.parameters(), None)
        column = self.panel[self.model.on]
        for start in range(0, len(self), _PASS):
            part = column[start : start + _PASS]
            (values,) = read_columns([part])
            valid = values.valid()
            places = np.arange(start, start + len(part))
            if valid is not None and not valid.all():
                places = places[valid]
                if not len(places):
                    continue
                part = column[places]
                (values,) = read_columns([part])
            inputs = self.model.prepare(as_batch(values, part))
            yield torch.from_numpy(places), inputs if weight is None else inputs.to(weight.device)

    @cached_property
    def probabilities(self) -> Tensor:
        """Probability of each class: shape (rows, classes), float64, on the CPU; zeros for rows that are null."""
        found = torch.zeros(len(self), len(self.model.classes), dtype=torch.float64)
        for places, inputs in self.batches():
            found[places] = self.predicted(inputs)
        return found

    @cached_property
    def wrong(self) -> NDArray[np.bool_]:
        """Whether the model contradicts the label, shape (rows,); False where that is not known."""
        said = self.probabilities.argmax(dim=1).numpy()
        return np.asarray((self.labels >= 0) & (said != self.labels))

    def maps(self, method: str | None = None) -> Tensor:
        """Small explanations of unit length: shape (rows, cells), float64; zeros where nothing is explained.

        Parameters
        ----------
        method : str, optional
            That of the candidates if left out.
        """
        name = method or self.method
        if name not in self._maps:
            self._maps[name] = self.fresh_maps(name)
        return self._maps[name]

    def fresh_maps(self, method: str, *, model: Classifier | None = None, seed: int = 0) -> Tensor:
        """Compute small explanations, by another model or with other draws of what a model draws; not kept.

        Parameters
        ----------
        method : str
            A key of `explain.METHODS`.
        model : Classifier, optional
            Which explains; that of the candidates if left out.
        seed : int
            Draws the dropout, where it is on.

        Returns
        -------
        Tensor, shape (rows, cells), float64, on the CPU
        """
        found: Tensor | None = None
        weight = next((model or self.model).module.parameters(), torch.zeros(()))
        with seeded(seed, weight.device):
            for places, inputs in self.batches():
                small = downsized(self.explained(inputs.to(weight.device), method, model))
                small = torch.nan_to_num(small, nan=0.0, posinf=0.0, neginf=0.0)
                if found is None:
                    found = torch.zeros(len(self), small.shape[1], dtype=torch.float64)
                # By the peak first: squares of tiny gradients would underflow.
                found[places] = normalize(small / small.amax(dim=1, keepdim=True).clamp_min(1e-300), dim=1)
        return torch.zeros(len(self), 1, dtype=torch.float64) if found is None else found

    def explained(self, inputs: Tensor, method: str | None = None, model: Classifier | None = None) -> Tensor:
        """Explain model inputs: scores of their shape, or that of the method."""
        chosen = model or self.model
        with chosen.evaluating():
            found = explain.attribute(chosen, inputs, method or self.method, target=self.target)
        return found.scores.detach()

    @torch.no_grad()
    def predicted(self, inputs: Tensor) -> Tensor:
        """Return probabilities of model inputs: shape (batch, classes), float64, on the CPU."""
        with self.model.evaluating():
            return self.model(inputs).double().softmax(dim=1).cpu()


def like_groups(maps: Tensor, seed: int) -> NDArray[np.int64]:
    """Number the groups of like explanations, the largest first; -1 for rows that are explained by nothing."""
    speaking = maps.any(dim=1).numpy()
    if speaking.sum() < 3:
        return np.where(speaking, 0, -1)
    return np.asarray(explain.spectral_clusters(maps, seed=seed).labels.numpy())


@contextmanager
def dropping(model: Classifier) -> Iterator[None]:
    """Keep the dropout of a model on, also where it is put in evaluation mode.

    Raises
    ------
    LoopError
        If it has none.
    """
    layers = [part for part in model.module.modules() if isinstance(part, _DROPOUT)]
    if not layers:
        raise LoopError(
            f"Passes with dropout need a dropout layer; this {type(model.module).__name__} has none. Compare two "
            "methods, or two models: Disagreement(others=(model,))."
        )
    hooks = [layer.register_forward_pre_hook(_turn_on) for layer in layers]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _turn_on(layer: nn.Module, _inputs: object) -> None:
    layer.train()
