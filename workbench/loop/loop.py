"""The loop of explanatory interactive learning: ask about some rows, be told, train again, see what it brought."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from columns import ScalarColumn

from ..apart import check_apart, check_unseen
from ..attributions import attribute
from ..classifier import Classifier, as_classifier
from ..errors import LoopError
from ..feedback import Feedback, Record
from ..predictions import predict
from ..progress import Progress
from .asking import chosen, gathered
from .curve import LearningCurve, Outlook
from .history import Asked, History, Round, as_records, per_round_sizes, size_of, verdict_of
from .queries import Query, query_named
from .retraining import Retraining
from .spreading import Spread, spread_named
from .users import Answer, Question, User

if TYPE_CHECKING:
    from ..panel import DataPanel
    from ..runs import Run

__all__ = ["Loop"]


class Loop:
    """Proposes rows, takes answers, writes them to the feedback log, trains briefly, and tells the learning curve.

    CAIPI [1]_ with a guard: of the rows proposed, one in `guided_every` is typical of a group of like explanations,
    so that a person does not see doubtful rows alone and think that these are all there is [2]_.

    The model of each round is the first model, trained again on the panel with what the log then held. So it follows
    from the log: a loop built anew on the same log, with the same settings, goes on where it was.

    Of CAIPI's three cases, nothing follows from a right reason; a wrong answer corrects the label; and a wrong reason
    becomes counterexamples, drawn afresh for each batch by `finetune`, and a penalty.

    Parameters
    ----------
    model : Classifier
        Where each training starts; not changed.
    panel : DataPanel
        Rows to ask about and to train on. Rows without a label are not trained on before they are given one.
    feedback : Feedback
        The log.
    query : str or callable
        A name in `QUERIES`, or a function of `Candidates`. Groups of like explanations find a shortcut with the fewest
        answers; see benchmarks/caipi.py.
    per_round : int or iterable of int
        Rows in a round; or in each, of which the last goes on.
    guided_every : int or None
        One in so many rows is chosen by groups of like explanations; None does without the guard.
    user : User, optional
        Who is asked by `step`; without one, answers come through `answer`.
    judged : DataPanel, optional
        Labelled rows to tell the learning curve by, which nothing is trained or chosen on: an error if they overlap
        with others, or the model has seen them. Without them the curve is told by the rows that a fine-tune holds
        out, with their marked regions refilled.
    propagate : {"clusters", "everywhere"} or callable, or None
        Where else what must not matter was marked: at the same place of the rows that the first model explained alike,
        see `AlongClusters`; or of every row; or as a function says, see `Spread`. None: nowhere else. A few marks
        that nobody spreads hardly change a model, and do not guard the choice of its state.
    column, label, source : str, optional
        What is painted on, by default what the classifier feeds on; the labels; what copies of one original share.
    candidates : int
        Rows that a query looks at in each round, drawn by chance, where the panel has more.
    method, target : str
        What explains rows: to the user, and for queries.
    name : str
        Of the loop, by which it knows its answers in the log.
    seed : int
        Draws candidates, queries and trainings.
    progress : bool or callable
        As for `finetune`.
    **settings
        Of `finetune`: ``steps=``, ``loss=``, ``settings=``, ``held_out=`` ...

    References
    ----------
    .. [1] S. Teso, K. Kersting, "Explanatory Interactive Machine Learning", AIES 2019.
    .. [2] T. Popordanoska, M. Kumar, S. Teso, "Machine Guides, Human Supervises: Interactive Learning with Global
       Explanations", 2020.

    Examples
    --------
    Two features agree; the user knows that the second must not matter:

    >>> import tempfile
    >>> import torch
    >>> from workbench import DataPanel, TensorColumn
    >>> from workbench.loop import SimulatedUser
    >>> x, marks = torch.tensor([[-1.0, -1], [1, 1]] * 20), torch.tensor([[False, True]] * 40)
    >>> labels = ScalarColumn(["below", "above"] * 20, classes=("below", "above"))
    >>> panel = DataPanel({"x": TensorColumn(x), "label": labels, "mark": TensorColumn(marks)}, origin="rows")
    >>> model = Classifier(torch.nn.Linear(2, 2), labels.spec.classes, on="x")
    >>> with torch.no_grad():
    ...     _ = model.module.weight.copy_(torch.tensor([[-1.0, -9], [1, 9]]))
    >>> log = Feedback(f"{tempfile.mkdtemp()}/feedback.db")
    >>> loop = Loop(
    ...     model, panel, log, user=SimulatedUser(panel, "mark"), per_round=2, steps=60, lr=0.2, propagate="everywhere",
    ...     judged=DataPanel({"x": TensorColumn(torch.tensor([[1.0, -1.0]])), "label": labels[1:2]}, origin="test"),
    ...     progress=False,
    ... )
    >>> loop.step()
    Round(1: 2 right for the wrong reason; 2 answers so far; accuracy 1.000)
    >>> loop.curve
    LearningCurve(0: 0.000, 2: 1.000)
    """

    def __init__(
        self,
        model: Classifier,
        panel: DataPanel,
        feedback: Feedback,
        *,
        query: str | Query = "clusters",
        per_round: int | Iterable[int] = 10,
        guided_every: int | None = 3,
        user: User | None = None,
        judged: DataPanel | None = None,
        propagate: str | Spread | None = "clusters",
        column: str | None = None,
        label: str = "label",
        source: str | None = None,
        candidates: int = 2000,
        method: str = "gradient_times_input",
        target: str = "max_logit",
        name: str = "loop",
        seed: int = 0,
        progress: Progress = True,
        **settings: Any,
    ) -> None:
        model = as_classifier(model)
        if (guided_every is not None and guided_every < 1) or candidates < 1:
            raise LoopError(f"`guided_every` and `candidates` must be at least 1; got {guided_every} and {candidates}.")
        lacks = [part for part in ("name", "how", "answer") if user is not None and not hasattr(user, part)]
        if lacks:
            raise LoopError(
                f"A user has `name`, `how` and `answer(question)`, see workbench.loop.User; {type(user).__name__} has "
                f"no {', '.join(f'`{part}`' for part in lacks)}. A person answers by loop.propose() and loop.answer()."
            )
        if judged is not None:
            check_apart(panel, judged, "judged", source)
            check_unseen(model, judged, "judged")
            chooses = settings.get("validation")
            if chooses is not None:
                check_apart(chooses, judged, "judged", source if source in chooses.columns else None)
        self.panel, self.feedback, self.user, self.judged, self.name = panel, feedback, user, judged, name
        self.column, self.label = column or model.on, label
        self._query_name, self._query = query_named(query)
        self._sizes, self._guided_every = per_round_sizes(per_round), guided_every
        self._candidates, self._method, self._target, self._seed = candidates, method, target, seed
        self._retraining = Retraining(
            model, panel, feedback, judged=judged, spread=spread_named(propagate, panel, model, method, target, seed),
            column=self.column, label=label, source=source, progress=progress, settings={"seed": seed, **settings},
        )  # fmt: skip
        self._place = {key: row for row, key in enumerate(panel.key.to_list())}
        self._open: dict[str, str] | None = None  # keys of the round, and what chose each
        self.rounds: list[Round] = []
        history = self._history()
        self._number = history.open_round(self._sizes)
        begun = history.of_round(self._number)
        # What the rows of a round that was begun were shown by; else whatever stands by now.
        self._version = begun[0].trained_on if begun else feedback.version if self._number else 0
        self.curve = self._retraining.first()

    # Asking

    @property
    def model(self) -> Classifier:
        """The classifier as it is now; trained when first asked for, where the loop was built anew."""
        if self._version == 0:
            return self._retraining.start
        known = self._retraining.known(self._version)
        return known.model if known is not None else self._train(len(self._history().before(self._number)))[0]

    @property
    def answers(self) -> int:
        """Rows answered so far, by the records that stand."""
        return len(self._history())

    def propose(self) -> DataPanel:
        """Return the rows of this round that are still to be answered.

        Returns
        -------
        DataPanel
            With ``query``, what chose each; ``prediction``; and ``why``, what the model looks at: lazy.
        """
        keys = self._waiting()
        rows = self.panel[np.array([self._place[key] for key in keys], np.int64)]
        rows = rows.drop([name for name in ("query", "prediction", "embedding", "why") if name in rows])
        model = self.model
        rows = predict(rows, model)
        proposed = self._proposed()
        return rows.assign(
            query=ScalarColumn([proposed[key] for key in keys]) if keys else ScalarColumn(np.zeros(0, np.str_)),
            why=attribute(rows, model, self._method, target=self._target),
        )

    def _proposed(self) -> dict[str, str]:
        """Return the keys of this round and what chose each; the same for a loop built anew."""
        if self._open is None:
            before = self._history().before(self._number)
            told = np.array([self._place[asked.key] for asked in before], np.int64)
            candidates = gathered(
                self.panel, told, self._candidates, self.model, labels=self._retraining.labels(self._version),
                method=self._method, target=self._target, seed=self._seed, round=self._number,
            )  # fmt: skip
            asked = sum(size_of(self._sizes, number) for number in range(self._number))
            count = size_of(self._sizes, self._number)
            found = chosen(candidates, self._query, self._query_name, count, self._guided_every, asked)
            keys = candidates.panel.key.to_list()
            self._open = {keys[row]: name for row, name in found.items()}
        return self._open

    def _waiting(self) -> list[str]:
        answered = {asked.key for asked in self._history().answers}
        return [key for key in self._proposed() if key not in answered]

    def questions(self) -> Iterator[Question]:
        """Yield what is asked of a user: each row still to be answered, with prediction and explanation."""
        rows = self.propose()
        rows.compute(["prediction", "why"])
        labels = self._retraining.labels_of(rows)
        for number, key in enumerate(rows.key.to_list()):
            yield Question(
                key, rows["query"][number], labels[number], rows["prediction"].label[number],
                float(rows["prediction"].confidence[number]), rows["why"][number],
            )  # fmt: skip

    # Being told

    def answer(
        self,
        key: str,
        verdict: str | None = None,
        *,
        label: str | None = None,
        irrelevant: Any = None,
        relevant: Any = None,
        note: str | None = None,
    ) -> tuple[Record, ...]:
        """Take an answer about a row, and write it to the log.

        Parameters
        ----------
        key : str
            Of a row of the panel, proposed or not.
        verdict : str, optional
            One of `feedback.VERDICTS`. If left out: a region is given for a wrong reason, a label alone for a wrong
            answer, and nothing for a right one.
        label : str, optional
            What the label should be.
        irrelevant, relevant : Region, boolean mask, or spans, optional
            What must not matter, and what should.
        note : str, optional
            Anything else.

        Returns
        -------
        tuple of Record
            As written, all at once: one `Feedback.undo` takes the whole answer back.

        Raises
        ------
        LoopError
            If the panel has no such row, or the model no such class.
        FeedbackError
            If the log does not take it.
        """
        said = Answer(verdict or verdict_of(label, irrelevant, relevant), label, irrelevant, relevant, note)
        return self._write(key, said, None, "painted")

    def _write(self, key: str, answer: Answer, author: str | None, how: str) -> tuple[Record, ...]:
        if key not in self._place:
            raise LoopError(f"An answer is about a row of the panel, of {len(self._place):,}; got key {key!r}.")
        classes = self._retraining.start.classes
        if answer.label is not None and answer.label not in classes:
            raise LoopError(f"A label must be one of {', '.join(classes)}; got {answer.label!r} for row '{key}'.")
        shown = {
            "loop": self.name,
            "round": self._number,
            "query": self._proposed().get(key, "chosen by the user"),
            "method": self._method,
            "target": self._target,
            "trained_on": self._version,
        }
        records = as_records(
            key, answer, column=self.column, label=self.label, author=author, how=how,
            model=self._retraining.digest(self.model), shown=shown,
        )  # fmt: skip
        return self.feedback.write(records)

    # Going on

    def step(self) -> Round:
        """Ask the user, if there is one, for what is open; train again; and go on to the next round.

        Rows of the round that nobody has answered are let go.

        Returns
        -------
        Round
            What was said, and what it brought.

        Raises
        ------
        LoopError
            If nothing was answered in this round, or no row is left.
        """
        if self.user is not None:
            for question in self.questions():
                self._write(question.key, self.user.answer(question), self.user.name, self.user.how)
        history = self._history()
        told = history.of_round(self._number)
        if not told:
            left = self._waiting()
            raise LoopError(
                f"A round needs an answer: loop.answer(key, ...) for some of {left[:3]}, or a `user`."
                if left
                else f"There is no row left to ask about; {len(history):,} of {len(self.panel):,} are answered."
            )
        self._version = self.feedback.version
        self._number, self._open = self._number + 1, None
        _, run = self._train(len(history))
        point = self.curve.points[-1] if self.curve.points and self.curve.points[-1].answers == len(history) else None
        done = Round(self._number, len(history), dict(Counter(asked.verdict for asked in told)), run, point)
        self.rounds.append(done)
        return done

    def run(self, answers: int) -> LearningCurve:
        """Go on, round by round, until so many rows are answered, and return the learning curve.

        Raises
        ------
        LoopError
            If there is no user to ask, or no row is left.
        """
        if self.user is None:
            raise LoopError("A loop runs by itself only with a `user`; without one, answer and step.")
        while self.answers < answers:
            self.step()
        return self.curve

    def outlook(self, more: int, *, level: float = 0.9) -> Outlook:
        """Tell what the next answers can be expected to bring; see `LearningCurve.outlook`."""
        return self.curve.outlook(more, level=level)

    def retrace(self) -> LearningCurve:
        """Train the models of earlier rounds again, for the part of the curve that a loop built anew has not seen."""
        versions: dict[int, list[Asked]] = {}
        for asked in self._history().answers:
            versions.setdefault(asked.trained_on, []).append(asked)
        seen = 0
        for version, answered in sorted(versions.items()):
            self.curve = self._retraining.traced(self.curve, version, seen)[1]
            seen += len(answered)
        if self._version and seen:
            self._train(len(self._history().before(self._number)))
        return self.curve

    def _train(self, answers: int) -> tuple[Classifier, Run | None]:
        found, self.curve = self._retraining.traced(self.curve, self._version, answers)
        return found.model, found.run

    def _history(self) -> History:
        return History(self.feedback, self.name, self._place)

    def __repr__(self) -> str:
        return (
            f"<Loop '{self.name}': round {self._number + 1}, {self.answers:,} of {len(self.panel):,} rows answered; "
            f"asks by {self._query_name}; {self.curve}>"
        )
