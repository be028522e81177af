"""Training on a panel: the plain one, and the short fine-tune that obeys what a person said."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import fields, replace
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from columns import Column
from explain import Rationale, RationaleLoss, losses

from .apart import check_apart, check_unseen, units_of
from .classifier import Classifier, as_classifier
from .duration import steps_in_epochs, steps_in_minutes
from .errors import RunError
from .guard import Draw
from .panel_draw import Log, PanelDraw, labels_of
from .progress import Progress, Watch
from .recipes import FINE_TUNE, recipe
from .record import TrainingSettings
from .runs import Run, begin_run
from .said import Said, as_marks, used_columns
from .schedule import hold_out
from .training import first_penalty, train
from .word_swap import SwapTokens

if TYPE_CHECKING:
    from .panel import DataPanel

__all__ = ["finetune", "fit"]


def fit(
    model: Classifier,
    panel: DataPanel,
    *,
    label: str = "label",
    settings: TrainingSettings | None = None,
    epochs: float | None = None,
    minutes: float | None = None,
    progress: Progress = True,
    watch: Watch | None = None,
    folder: str | os.PathLike[str] | None = None,
    name: str = "",
    **changes: Any,
) -> Run:
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
    epochs, minutes : float, optional
        How long, in place of ``steps=``; see `finetune`.
    progress : bool or callable
        Show a bar, or be told of each step.
    watch : Watch, optional
        Told everything as it happens.
    folder : path, optional
        Directory of runs: this one is written there as it goes on, and survives a crash.
    name : str
        What the run is called.
    **changes
        Fields of the settings to change: ``steps=``, ``lr=``, ``seed=`` ...

    Returns
    -------
    Run
        With the trained classifier as ``model``, the figures of each step, and the record that it can be done
        again from.

    Raises
    ------
    PanelError
        If the labels are not a category with the classifier's classes.
    RunError
        If a setting does not exist or is out of range.
    """
    model = as_classifier(model)
    chosen = _changed(settings or recipe("digits").plain, changes)
    draw = PanelDraw(model, panel[model.on], labels_of(model, panel[label], label), {})
    rows = np.arange(len(panel))
    chosen = _as_long(chosen, changes, epochs, minutes, model, draw, rows)
    with begin_run(
        "fit", model, panel, columns={model.on: panel[model.on], label: panel[label]}, settings=chosen,
        call={"label": label}, folder=folder, name=name, watch=watch,
    ) as recording:  # fmt: skip
        return recording.finish(train(model, draw, rows, chosen, progress=progress, watch=recording.watch))


def finetune(
    model: Classifier,
    panel: DataPanel,
    feedback: Log | str | Column | Any = None,
    *,
    irrelevant: str | Column | Any = None,
    relevant: str | Column | Any = None,
    rule: str = "latest",
    column: str | None = None,
    label: str = "label",
    source: str | None = None,
    held_out: float = 0.1,
    validation: DataPanel | None = None,
    judged: DataPanel | Sequence[DataPanel] = (),
    settings: TrainingSettings | None = None,
    epochs: float | None = None,
    minutes: float | None = None,
    progress: Progress = True,
    watch: Watch | None = None,
    folder: str | os.PathLike[str] | None = None,
    name: str = "",
    **changes: Any,
) -> Run:
    """Train a copy of a classifier again, briefly, so that it obeys what a person said.

    Counterexamples first (the marked region refilled from other rows), then a small "right for the right
    reasons" penalty [1]_. Some rows are held out, and the state is kept that does best on them with their
    marked regions refilled: a choice that the shortcut cannot win. Marked words come from other texts.

    Parameters
    ----------
    model : Classifier
        Where to start; not changed.
    panel : DataPanel
        The rows to train on.
    feedback : Feedback, or str, column or array
        What was said: a log, of which the marks of both kinds and the corrections of labels are used. Or masks of
        what must not matter, as for `irrelevant`.
    irrelevant, relevant : str, column or array, optional
        What must not matter, and what should: boolean masks of shape (height, width), of the pictures or as the
        model takes them, or of the shape of its inputs; of texts, lists of spans (start, end) in characters. Null
        or empty where nothing was said. Beside a log, they take the place of what it says.
    rule : {"latest", "union", "intersection", "majority"}
        How regions that several people marked are merged. Of labels, what more than half of them say by "majority",
        else what was said last.
    column : str, optional
        Which column the marks of a log are of, if not the one that the classifier feeds on: a picture in its
        full size, say. Masks of another size than the inputs are stretched: where `preprocess` does not resize
        pictures whole, but crops, pads, flips or turns them, masks must be given as the model takes its inputs.
    label : str
        Column of the labels.
    source : str, optional
        Column that copies of one original share: it is held out with all its copies.
    held_out : float
        Share of the rows to choose the state by: of those about which something was said, at least one of which is
        trained on, and of the others.
    validation : DataPanel, optional
        Rows to choose the state by, instead; with marks in columns of the same names, or in the log.
    judged : DataPanel or sequence of DataPanel, optional
        Rows that the model will be judged by: an error if any of them is in the panel, or among those to choose by,
        or if the model, or a run that it came from, has seen them.
    settings : TrainingSettings, optional
        Steps, batch size, learning rate, losses; `recipes.FINE_TUNE` if left out: 120 steps of 256 rows. (Of texts,
        without a penalty, whose layer would have to be named.)
    epochs, minutes : float, optional
        How long, in place of ``steps=``. Minutes become a number of steps by timing ten of them with a copy that is
        thrown away; `Training.settings` has the number.
    progress : bool or callable
        Show a bar, or be told of each step.
    watch : Watch, optional
        Told everything as it happens: steps, looks at the validation rows, states kept.
    folder : path, optional
        Directory of runs: this one is written there as it goes on, and survives a crash.
    name : str
        What the run is called.
    **changes
        Fields of the settings to change: ``steps=``, ``lr=``, ``loss=``, ``weights="head"``, ``patience=3`` ...; see
        `TrainingSettings`. A loss alone, from the first step, is asked for by ``counterexamples=None``; else it
        joins them half way.

    Returns
    -------
    Run
        With the new classifier as ``model``, or the one given, with a warning, if nothing did better; and the record
        that it can be done again from: ``run.replay()``.

    Raises
    ------
    RunError
        If no row has a mask, or none of the kind that the loss needs, or too few rows are there to hold some out.
    OverlapError
        If rows are to be judged by that are also to be trained on or chosen by, or share their source with one, or
        that the model has seen.
    PanelError
        If labels are not a category with the classifier's classes, or there is no such column.
    FeedbackError
        If marks of a log cannot be merged, are not of the size of their rows, or contradict each other.

    Warns
    -----
    UnguardedWarning
        If fewer than one in twenty of the rows to choose the state by have a mark of what must not matter.
    UnchangedModelWarning
        If no state did better than the start.

    References
    ----------
    .. [1] A. S. Ross, M. C. Hughes, F. Doshi-Velez, "Right for the Right Reasons: Training
       Differentiable Models by Constraining their Explanations", IJCAI 2017.
    """
    model = as_classifier(model)
    log = None
    if isinstance(feedback, Log):
        # As it stands now, for all that follows: somebody may go on writing.
        feedback = log = feedback.at(feedback.version)
    elif feedback is not None:
        if irrelevant is not None:
            raise RunError("Masks of what must not matter must be given once: third, or as `irrelevant`; got both.")
        irrelevant = feedback = as_marks(feedback, "irrelevant")
    irrelevant, relevant = as_marks(irrelevant, "irrelevant"), as_marks(relevant, "relevant")
    given = {"irrelevant": irrelevant, "relevant": relevant}
    where = Said(model, log, given, rule, column or model.on, label)
    check_apart(panel, judged, "judged", source)
    check_unseen(model, judged, "judged")
    draw = where.draw(panel)
    chosen = _chosen(model, settings, changes, list(draw.marks))
    rows: NDArray[np.int64] = np.arange(len(panel))
    read = {model.on: draw.inputs, label: panel[label], **({} if source is None else {source: panel[source]})}
    # Made of the panel and what was said: a replay makes them again.
    read |= used_columns(draw, label, log)
    if validation is None:
        units = units_of(panel, source)
        spoken_of = np.union1d(draw.annotated, where.corrected(panel))
        rows, held = hold_out(units, held_out, chosen.seed, annotated=spoken_of)
        both: Draw = draw
    else:
        check_apart(panel, validation, "validation", source)
        check_apart(validation, judged, "judged", source if source in validation.columns else None)
        held = len(panel) + np.arange(len(validation))
        other = where.draw(validation, elsewhere=True)
        both = _joined(draw, other, len(panel))
        of_other = {model.on: other.inputs, label: validation[label], **used_columns(other, label, log)}
        read |= {f"validation:{name}": values for name, values in of_other.items()}
    said = draw.annotated if chosen.balance is not None else None
    chosen = _as_long(chosen, changes, epochs, minutes, model, both, rows, held, said)
    call = {
        "irrelevant": None if feedback is irrelevant else irrelevant, "relevant": relevant, "rule": rule,
        "column": column, "label": label, "source": source, "held_out": held_out,
    }  # fmt: skip
    with begin_run(
        "finetune", model, panel, columns=read, settings=chosen, feedback=feedback, rows=rows,
        validation=held if validation is None else validation, folder=folder, name=name, watch=watch,
        call=call if validation is None else {**call, "validation": validation},
    ) as recording:  # fmt: skip
        return recording.finish(
            train(model, both, rows, chosen, validation=held, annotated=said, progress=progress, watch=recording.watch)
        )


def _chosen(
    model: Classifier, settings: TrainingSettings | None, changes: dict[str, Any], said: list[str]
) -> TrainingSettings:
    """Return the settings of a fine-tune, and make sure that what was said is read by something."""
    chosen = settings
    if chosen is None:
        if "counterexamples" in changes:
            changes = {"penalty_from": first_penalty(changes["counterexamples"]), **changes}
        chosen = FINE_TUNE
        if model.offsets is not None:
            # Tokens have no gradient, and no place that the token of another row would fit in.
            chosen = replace(chosen, counterexamples=SwapTokens(model.padding), loss=None)
    chosen = _changed(chosen, changes)
    if chosen.loss is not None and not isinstance(chosen.loss, RationaleLoss):
        raise RunError(
            f"`loss` must be a rationale loss, such as losses.RightReasons(); got {chosen.loss!r}. There are: "
            f"{', '.join(name for name in losses.__all__ if name[0].isupper())}."
        )
    for part in chosen.loss.parts() if chosen.loss is not None and said else ():
        if not set(part.needs) & set(said):
            raise RunError(
                f"{type(part).__name__} needs masks of what is {' or '.join(part.needs)}; there are those of what is "
                f"{' and '.join(said)}. Give them, or choose another loss."
            )
    if said == ["relevant"] and chosen.loss is None:
        raise RunError(
            "Counterexamples need masks of what must not matter; there are those of what is relevant. Give a loss that "
            "reads them, such as losses.ExplanationRegularization(layer=...) for texts or losses.Hint(layer=...)."
        )
    return chosen


def _changed(settings: TrainingSettings, changes: dict[str, Any]) -> TrainingSettings:
    """Return settings with some fields changed; a field that does not exist is told with the nearest."""
    known = [f.name for f in fields(settings)]
    for name in changes:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            guess = f"; did you mean '{near[0]}'?" if near else "."
            raise RunError(f"There is no setting '{name}'{guess} There are: {', '.join(known)}.")
    return replace(settings, **changes)


def _as_long(
    settings: TrainingSettings,
    changes: dict[str, Any],
    epochs: float | None,
    minutes: float | None,
    model: Classifier,
    draw: Draw,
    rows: NDArray[np.int64],
    validation: NDArray[np.int64] | None = None,
    annotated: NDArray[np.int64] | None = None,
) -> TrainingSettings:
    """Return settings with the number of steps that epochs or minutes come to."""
    said = {"steps": changes.get("steps"), "epochs": epochs, "minutes": minutes}
    several = [f"{name}={value}" for name, value in said.items() if value is not None]
    if len(several) > 1:
        raise RunError(f"A training is as long as one of `steps`, `epochs` and `minutes` says; got {several}.")
    if epochs is not None:
        return replace(settings, steps=steps_in_epochs(epochs, len(rows), settings.batch_size))
    if minutes is not None:
        steps = steps_in_minutes(minutes, model, draw, rows, settings, validation=validation, annotated=annotated)
        return replace(settings, steps=steps)
    return settings


def _joined(first: Draw, second: Draw, start: int) -> Draw:
    """Return one draw for two panels, the rows of the second numbered from `start`; a batch is of one of them."""

    def draw(rows: NDArray[np.int64]) -> tuple[Tensor, Tensor, Tensor | Rationale | None]:
        return first(rows) if rows[0] < start else second(rows - start)

    return draw
