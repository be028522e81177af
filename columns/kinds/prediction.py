"""Predictions: class scores per row, with the words of classification."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self, final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..column import Column, kind
from ..errors import KindError
from ..expression import Source
from ..functions import Operation
from ..html import text_cell
from ..spec import ColumnSpec
from ..values import ArrowValues, DenseValues, Values
from .tensor import dense_source

__all__ = ["PredictionColumn"]

_UNITS = ("logits", "probabilities")


@kind
@final
class PredictionColumn(Column):
    """A score for each class, per row.

    Parameters
    ----------
    data : ndarray or Tensor, shape (rows, classes)
        Scores.
    classes : sequence of str
        Class names, in the order of the scores.
    unit : {"logits", "probabilities"}
        What the scores are.

    Examples
    --------
    >>> prediction = PredictionColumn([[0.9, 0.1], [0.4, 0.6]], ["cat", "dog"], unit="probabilities")
    >>> prediction.label.to_list(), prediction.confidence.to_list()
    (['cat', 'dog'], [0.9, 0.6])
    """

    kind = "prediction"
    form = "dense"
    __slots__ = ()

    def __new__(cls, data: Any, classes: Sequence[str], unit: str = "logits") -> Self:
        if unit not in _UNITS:
            raise KindError(f"`unit` must be one of {', '.join(_UNITS)}; got '{unit}'.")
        source = dense_source(data, "data")
        names = tuple(str(c) for c in classes)
        if source.data.ndim != 2 or source.data.shape[1] != len(names):
            raise KindError(
                f"Scores must have shape (rows, {len(names)}), one for each class; got {source.data.shape}."
            )
        spec = ColumnSpec("prediction", str(source.data.dtype), source.data.shape[1:], names, unit)
        return cls.over(Source(source), spec=spec)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, in the order of the scores."""
        return self.spec.classes or ()

    @property
    def label(self) -> Any:
        """A lazy category: the class with the greatest score."""
        if not self.classes:
            raise KindError("These scores have no class names; give them with `.as_kind('prediction', classes=names)`.")
        spec = ColumnSpec("scalar", "category", None, self.classes)
        return self._op(_Score("label", self._logits, self.classes), "scalar", spec)

    @property
    def probabilities(self) -> Any:
        """A lazy tensor column of shape (classes,): the probability of each class."""
        spec = ColumnSpec("tensor", self.spec.dtype, self.spec.shape)
        return self._op(_Score("probabilities", self._logits), "tensor", spec)

    def probability(self, name: str) -> Any:
        """Return a lazy column: the probability of the class called `name`."""
        if name not in self.classes:
            raise KindError(f"A class must be one of {list(self.classes)}; got '{name}'.")
        return self._scalar("probability", self.classes.index(name))

    @property
    def confidence(self) -> Any:
        """A lazy column: the greatest probability."""
        return self._scalar("confidence")

    @property
    def entropy(self) -> Any:
        """A lazy column: the entropy of the probabilities, in nats."""
        return self._scalar("entropy")

    @property
    def margin(self) -> Any:
        """A lazy column: the greatest probability less the second."""
        return self._scalar("margin")

    def top_k(self, k: int) -> Any:
        """Return a lazy column of lists: the `k` likeliest classes, each with ``label`` and ``probability``."""
        if not self.classes or not 1 <= k <= len(self.classes):
            raise KindError(f"`k` must lie in [1, {len(self.classes)}]; got {k}.")
        spec = ColumnSpec("scalar", "list", None)
        return self._op(_Score("top_k", self._logits, self.classes, k), "scalar", spec)

    def loss(self, labels: Column) -> Any:
        """Return a lazy column: the cross-entropy against `labels`, in nats.

        Parameters
        ----------
        labels : ScalarColumn
            A category with the same classes.
        """
        if labels.spec.classes is not None and labels.spec.classes != self.classes:
            raise KindError(
                f"Labels must have the classes {list(self.classes)}; they have {list(labels.spec.classes)}."
            )
        if labels.kind not in ("scalar", "text"):
            raise KindError(f"Labels must be a category, class names or codes; got a {labels.kind} column.")
        named = labels if labels.spec.classes else labels.as_kind("scalar").as_category(self.classes)
        return self._op(_Score("loss", self._logits, self.classes), "scalar", ColumnSpec("scalar", "float"), [named])

    @property
    def _logits(self) -> bool:
        return self.spec.unit != "probabilities"

    def _scalar(self, name: str, k: int = 0) -> Any:
        return self._op(_Score(name, self._logits, (), k), "scalar", ColumnSpec("scalar", "float"))

    def __eq__(self, other: object) -> Any:
        return self.label == other

    def __ne__(self, other: object) -> Any:
        return self.label != other

    __hash__ = Column.__hash__

    def cell(self, value: Any) -> str:
        if value is None:
            return text_cell(None)
        scores = np.asarray(value, np.float64)[None]
        p = _softmax(scores)[0] if self._logits else scores[0]
        best = int(p.argmax())
        name = self.classes[best] if best < len(self.classes) else str(best)
        return f"{text_cell(name)} <small>{p[best]:.2f}</small>"


@dataclass(frozen=True)
class _Score(Operation):
    """A quantity of class scores; computed in float64, which costs nothing here and keeps small differences."""

    name: str
    logits: bool
    classes: tuple[str, ...] = ()
    k: int = 0

    def __call__(self, *inputs: Values) -> Values:
        scores = inputs[0]
        assert isinstance(scores, DenseValues)
        valid, data = scores.valid(), scores.data
        lost = None if valid is None else ~valid
        if not data.shape[1:] or not data.shape[1]:
            # Nothing but null, from a map that has not given a row yet: nobody knows how many classes.
            data = np.zeros((len(scores), max(len(self.classes), self.k + 1)), data.dtype)
        elif lost is not None:
            data = np.where(lost[:, None], 0, data)
        kind = np.result_type(data.dtype, np.float32) if data.dtype.kind == "f" else np.dtype(np.float64)
        if self.name == "label":
            none = np.isnan(data).any(axis=1)  # a score that is not a number chooses no class
            codes = pa.array(data.argmax(axis=1).astype(np.int32), mask=none if lost is None else none | lost)
            return ArrowValues(pa.DictionaryArray.from_arrays(codes, pa.array(self.classes, pa.string())))
        p = _softmax(data) if self.logits else data
        if self.name == "probabilities":
            return DenseValues(p.astype(kind), valid)
        if self.name == "top_k":
            return ArrowValues(self._top(p, lost))
        if self.name == "loss":
            return ArrowValues(_loss(p, data if self.logits else None, inputs[1], lost))
        return ArrowValues(pa.array(self._quantity(p).astype(kind), mask=lost))

    def _quantity(self, p: NDArray[Any]) -> NDArray[Any]:
        if self.name == "probability":
            column: NDArray[Any] = p[:, self.k]
            return column
        if self.name == "confidence":
            return np.asarray(p.max(axis=1))
        if self.name == "entropy":
            safe = np.where(p > 0, p, 1.0)
            return np.asarray(-(p * np.log(safe)).sum(axis=1))
        if p.shape[1] == 1:
            return np.ones(len(p))
        top = np.partition(p, -2, axis=1)[:, -2:]
        return np.asarray(top[:, 1] - top[:, 0])

    def _top(self, p: NDArray[Any], lost: NDArray[np.bool_] | None) -> pa.Array:
        order = np.argsort(-p, axis=1, kind="stable")[:, : self.k]
        names = pa.array(self.classes, pa.string()).take(pa.array(order.reshape(-1)))
        chances = pa.array(np.take_along_axis(p, order, axis=1).reshape(-1))
        pairs = pa.StructArray.from_arrays([names, chances], names=["label", "probability"])
        return pa.FixedSizeListArray.from_arrays(pairs, self.k, mask=None if lost is None else pa.array(lost))

    def words(self, inner: Sequence[str]) -> str:
        return f"{inner[0]}.{self.name}" if len(inner) == 1 else f"{inner[0]}.{self.name}({inner[1]})"


def _softmax(logits: NDArray[Any]) -> NDArray[np.float64]:
    shifted = logits.astype(np.float64)
    with np.errstate(invalid="ignore"):  # infinity less infinity: not a number, as it should be
        if shifted.size:
            shifted -= shifted.max(axis=1, keepdims=True)
        np.exp(shifted, out=shifted)
        shifted /= shifted.sum(axis=1, keepdims=True)
    return shifted


def _loss(p: NDArray[Any], logits: NDArray[Any] | None, labels: Values, lost: NDArray[np.bool_] | None) -> pa.Array:
    assert isinstance(labels, ArrowValues)
    codes = labels.array.indices
    mask = codes.is_null().to_numpy(zero_copy_only=False)
    index = codes.fill_null(0).to_numpy().astype(np.int64)
    if logits is None:
        with np.errstate(divide="ignore"):
            nats = -np.log(np.take_along_axis(p, index[:, None], axis=1)[:, 0])
    else:
        # From the logits, since a probability that underflows would give infinity.
        z = logits.astype(np.float64)
        with np.errstate(invalid="ignore"):
            z = z - z.max(axis=1, keepdims=True) if z.size else z
            nats = np.log(np.exp(z).sum(axis=1)) - np.take_along_axis(z, index[:, None], axis=1)[:, 0]
    return pa.array(nats, mask=mask if lost is None else mask | lost)
