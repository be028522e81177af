"""Training on a panel: the plain one, and the short fine-tune that obeys what a person said."""

from __future__ import annotations

from dataclasses import fields, replace
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from columns import Column
from columns.column import as_batch, read_columns
from columns.values import DenseValues, Values
from explain import Rationale, RationaleLoss, losses

from .classifier import Classifier, check_classifier
from .errors import PanelError, RunError
from .guard import Draw
from .infer import as_column
from .progress import Progress
from .recipes import FINE_TUNE, recipe
from .record import Training, TrainingSettings
from .schedule import hold_out
from .training import first_penalty, train

if TYPE_CHECKING:
    from .panel import DataPanel

__all__ = ["finetune", "fit"]


def fit(
    model: Classifier,
    panel: DataPanel,
    *,
    label: str = "label",
    settings: TrainingSettings | None = None,
    progress: Progress = True,
    **changes: Any,
) -> Training:
    """Train a copy of a classifier on the rows of a panel, plainly: cross-entropy and nothing else.

    Parameters
    ----------
    model : Classifier
        Where to start; not changed.
    panel : DataPanel
        The rows to train on.
    label : str
        Column of the labels: a category with the classifier's classes.
    settings : TrainingSettings, optional
        Steps, batch size, learning rate and so on; those of the digits recipe if left out.
    progress : bool or callable
        Show a bar, or be told of each step.
    **changes
        Fields of the settings to change: ``steps=``, ``lr=``, ``seed=`` ...

    Returns
    -------
    Training
        With the trained classifier as ``model``, and the figures of each step.
    """
    check_classifier(model)
    chosen = _changed(settings or recipe("digits").plain, changes)
    return train(model, _drawing(model, panel, label, {}), len(panel), chosen, progress=progress)


def finetune(
    model: Classifier,
    panel: DataPanel,
    irrelevant: str | Column | Any = None,
    *,
    relevant: str | Column | Any = None,
    label: str = "label",
    source: str | None = None,
    held_out: float = 0.1,
    settings: TrainingSettings | None = None,
    progress: Progress = True,
    **changes: Any,
) -> Training:
    """Train a copy of a classifier again, briefly, so that it obeys masks of what must not matter.

    Counterexamples first (the marked region refilled from other rows), then a small "right for the right
    reasons" penalty [1]_. Some rows are held out, and the state is kept that does best on them with their
    marked regions refilled: a choice that the shortcut cannot win.

    Parameters
    ----------
    model : Classifier
        Where to start; not changed.
    panel : DataPanel
        The rows to train on.
    irrelevant : str, column or array
        What must not matter: boolean masks of shape (height, width), or of the model's inputs; null or empty
        where nothing was said.
    relevant : str, column or array, optional
        What should matter, likewise: for losses that reward it, `losses.Hint` say.
    label : str
        Column of the labels.
    source : str, optional
        Column that copies of one original share: it is held out with all its copies.
    held_out : float
        Share of the rows to choose the state by.
    settings : TrainingSettings, optional
        Steps, batch size, learning rate, losses; `recipes.FINE_TUNE` if left out: 120 steps of 256 rows.
    progress : bool or callable
        Show a bar, or be told of each step.
    **changes
        Fields of the settings to change: ``steps=``, ``lr=``, ``loss=``, ``counterexamples=`` ... A loss alone, from
        the first step, is asked for by ``counterexamples=None``; else it joins them half way.

    Returns
    -------
    Training
        With the new classifier as ``model``; the one given, with a warning, if nothing did better.

    Raises
    ------
    RunError
        If no row has a mask, or none of the kind that the loss needs, or too few rows are there to hold some out.

    References
    ----------
    .. [1] A. S. Ross, M. C. Hughes, F. Doshi-Velez, "Right for the Right Reasons: Training
       Differentiable Models by Constraining their Explanations", IJCAI 2017.
    """
    check_classifier(model)
    masks = {
        name: _mask_column(panel, given, name)
        for name, given in (("irrelevant", irrelevant), ("relevant", relevant))
        if given is not None
    }
    said = [name for name, column in masks.items() if _any_marked(column)]
    if not said:
        raise RunError(
            "A fine-tune needs at least one row with a mask, of what must not matter or of what should; "
            f"{'every mask is empty or null' if masks else 'there is none'}."
        )
    units = np.arange(len(panel)) if source is None else panel[source].to_numpy()
    if settings is None and "counterexamples" in changes:
        changes = {"penalty_from": first_penalty(changes["counterexamples"]), **changes}
    chosen = _changed(settings or FINE_TUNE, changes)
    if chosen.loss is not None and not isinstance(chosen.loss, RationaleLoss):
        raise RunError(
            f"`loss` must be a rationale loss, such as losses.RightReasons(); got {chosen.loss!r}. There are: "
            f"{', '.join(name for name in losses.__all__ if name[0].isupper())}."
        )
    for part in () if chosen.loss is None else chosen.loss.parts():
        if not set(part.needs) & set(said):
            raise RunError(
                f"{type(part).__name__} needs masks of what is {' or '.join(part.needs)}; there are those of what is "
                f"{' and '.join(said)}. Give them, or choose another loss."
            )
    kept, held = hold_out(units, held_out, chosen.seed)
    draw = _drawing(model, panel, label, masks)
    return train(model, draw, kept, chosen, validation=held, progress=progress)


def _changed(settings: TrainingSettings, changes: dict[str, Any]) -> TrainingSettings:
    """Return settings with some fields changed; a field that does not exist is told with the nearest."""
    known = [f.name for f in fields(settings)]
    for name in changes:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            guess = f"; did you mean '{near[0]}'?" if near else "."
            raise RunError(f"There is no setting '{name}'{guess} There are: {', '.join(known)}.")
    return replace(settings, **changes)


def _mask_column(panel: DataPanel, given: str | Column | Any, name: str) -> Column:
    """Return masks as a column of the panel's length."""
    column = panel[given] if isinstance(given, str) else as_column(given, None, name)
    if len(column) != len(panel):
        raise PanelError(f"Masks must be one for each of the {len(panel)} rows; got {len(column)}.")
    return column


def _drawing(model: Classifier, panel: DataPanel, label: str, masks: dict[str, Column]) -> Draw:
    """Return the function that reads rows of a panel as the training wants them."""
    inputs, labels = panel[model.on], panel[label]
    if labels.spec.classes is None:
        raise PanelError(
            f"Labels must be a category with the classifier's classes; make '{label}' one: "
            f"panel['{label}'] = panel['{label}'].as_category(model.classes)."
        )
    if labels.spec.classes != model.classes:
        raise PanelError(f"Labels must have the classifier's classes {model.classes}; they have {labels.spec.classes}.")
    columns = [inputs, labels, *masks.values()]

    def draw(rows: NDArray[np.int64]) -> tuple[Tensor, Tensor, Rationale]:
        some = [column[rows] for column in columns]
        values = read_columns(some)
        batch = as_batch(values[0], some[0])
        codes = as_batch(values[1], some[1])
        said = {name: _as_masks(found) for name, found in zip(masks, values[2:], strict=True)}
        return model.prepare(batch), codes, Rationale(**said)

    return draw


def _any_marked(column: Column) -> bool:
    return any(bool(_as_masks(column[start : start + 4096].values()).any()) for start in range(0, len(column), 4096))


def _as_masks(values: Values) -> Tensor:
    """Return masks as booleans; a row about which nothing was said is an empty mask."""
    if not isinstance(values, DenseValues):
        raise RunError("Masks must be arrays of one shape, True where something must not matter; make a TensorColumn.")
    masks = values.data.astype(np.bool_)
    valid = values.valid()
    if valid is not None:
        masks[~valid] = False
    return torch.from_numpy(masks)
