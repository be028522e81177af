"""Classifier: a torch module, how to feed it, and what its outputs are called."""

import copy
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from explain.layers import modes_kept

from .errors import ClassifierError
from .layered import Layered

__all__ = ["Classifier", "as_classifier", "to_unit_interval"]


def to_unit_interval(batch: Tensor) -> Tensor:
    """Scale bytes to [0, 1] and leave everything else alone: the default preprocessing.

    Parameters
    ----------
    batch : Tensor, any shape
        Images as uint8, or inputs that are ready already.

    Returns
    -------
    Tensor, same shape
        float32 in [0, 1] for uint8, else `batch` itself.

    Examples
    --------
    >>> to_unit_interval(torch.tensor([0, 51, 255], dtype=torch.uint8))
    tensor([0.0000, 0.2000, 1.0000])
    """
    return batch.float().div_(255) if batch.dtype == torch.uint8 else batch


class Classifier(Layered):
    """A torch module, how to feed it, and what its outputs are called.

    Satisfies `explain.Forward`: called on model inputs, it returns logits.

    Parameters
    ----------
    module : torch.nn.Module
        Model inputs to logits, shape (batch, classes).
    classes : sequence of str
        Names of the classes in the order of the logits; unique.
    preprocess : callable or None
        From a batch as the column gives it, for images uint8 of shape (batch, channels, height,
        width), to model inputs; by default `to_unit_interval`. Of texts, a list of them: a tokenizer that
        returns token numbers, shape (batch, tokens), int64.
    on : str
        Name of the column that feeds the module.
    embedding : str or None
        Layer whose output is the embedding; by default the *input* of the last `torch.nn.Linear`.
    factory : callable or None
        What made the module, importable, so that a saved classifier can be built again. Not needed for what
        is made of torch's own layers by `torch.nn.Sequential`, nor for the networks of `workbench.nets`.
    arguments : mapping or None
        What the factory was called with, by name: plain values.
    offsets : callable or None
        Of texts: from the same list as `preprocess` to where each token is in its text, the first character and
        the one after the last, shape (batch, tokens, 2), int64; (0, 0) for padding and special tokens. Needed to
        train with marked words.
    padding : int
        Of texts: number of the padding token, which is on the right.

    Attributes
    ----------
    module, classes, preprocess, on, factory, arguments, offsets, padding
        As given; `classes` is a tuple.

    Raises
    ------
    ClassifierError
        If class names repeat, are not text, or there are none.
    LayerError
        If the module has no layer called `embedding`.

    Examples
    --------
    >>> model = Classifier(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), classes=("cat", "dog"))
    >>> model
    Classifier(Sequential, classes=('cat', 'dog'), on='image')
    >>> logits, layers = model.with_layers(torch.zeros(3, 1, 2, 2), ["embedding"])
    >>> logits.shape, layers["embedding"].shape
    (torch.Size([3, 2]), torch.Size([3, 4]))
    """

    def __init__(
        self,
        module: nn.Module,
        classes: Sequence[str],
        preprocess: Callable[[Any], Tensor] | None = None,
        on: str = "image",
        embedding: str | None = None,
        *,
        factory: Callable[..., Any] | None = None,
        arguments: Mapping[str, Any] | None = None,
        offsets: Callable[[list[str]], Tensor] | None = None,
        padding: int = 0,
    ) -> None:
        self.module = module
        self.offsets, self.padding = offsets, padding
        self.factory, self.arguments = factory, arguments
        self.classes = _checked_names(classes)
        self.preprocess = to_unit_interval if preprocess is None else preprocess
        self.on = on
        self._embedding = embedding
        if embedding is not None:
            self._find(embedding)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the classifier to a directory: weights as safetensors, and how to build it; no pickle.

        Parameters
        ----------
        path : str or Path
            Directory; made if it is not there.

        Raises
        ------
        ClassifierError
            If weights are of a kind that no file holds.
        RunFileError
            If the directory holds a classifier that is built otherwise.
        """
        from .runs.models import save_classifier

        save_classifier(self, path)

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        factory: Callable[..., nn.Module] | None = None,
        preprocess: Callable[[Any], Tensor] | None = None,
        offsets: Callable[[list[str]], Tensor] | None = None,
        trust: Sequence[str] = (),
    ) -> "Classifier":
        """Return the classifier in a directory.

        Parameters
        ----------
        path : str or Path
            Where it was saved.
        factory : callable, optional
            Makes the module, without arguments; needed if the file cannot tell, or names what is not trusted.
        preprocess, offsets : callable, optional
            In place of those that the file names.
        trust : sequence of str
            Packages, besides this one and ``torch.nn``, that the file may name.

        Returns
        -------
        Classifier
            On the CPU.

        Raises
        ------
        RunFileError
            If files are missing, damaged, or of a newer format; says which.
        UntrustedError
            If the file names a package that is not trusted.
        ClassifierError
            If the weights do not fit the module.
        """
        from .runs.models import open_classifier

        return open_classifier(path, factory=factory, preprocess=preprocess, offsets=offsets, trust=trust)

    def __repr__(self) -> str:
        names = self.classes if len(self.classes) <= 10 else f"{len(self.classes)} names"
        return f"Classifier({type(self.module).__name__}, classes={names}, on={self.on!r})"

    def prepare(self, batch: Any) -> Tensor:
        """Turn a batch of the column into model inputs.

        Parameters
        ----------
        batch : Tensor, shape (batch, ...), or list of str
            As the column gives it.

        Returns
        -------
        Tensor, shape (batch, *event)
            What the module takes; of texts, where its weights are.

        Raises
        ------
        ClassifierError
            If it is given texts and nothing that makes tokens of them.
        """
        if isinstance(batch, Tensor):
            return self.preprocess(batch)
        if self.preprocess is to_unit_interval:
            raise ClassifierError(
                f"Column '{self.on}' gives {type(batch).__name__}s, which no module takes; say how they become token "
                "numbers: Classifier(..., preprocess=tokenize)."
            )
        inputs = self.preprocess(batch)
        weight = next(self.module.parameters(), None)
        return inputs if weight is None else inputs.to(weight.device)

    def __call__(self, inputs: Tensor) -> Tensor:
        """Run the module.

        Parameters
        ----------
        inputs : Tensor, shape (batch, *event)
            Model inputs, as `prepare` returns them.

        Returns
        -------
        Tensor, shape (batch, classes), float
            Logits.

        Raises
        ------
        ClassifierError
            If the module does not return one logit per row and class.
        """
        logits: Tensor = self.module(inputs)
        self._check_logits(logits, inputs)
        return logits

    @contextmanager
    def evaluating(self) -> Iterator["Classifier"]:
        """Put every submodule in evaluation mode, and each back as it was afterwards.

        Yields
        ------
        Classifier
            This one.

        Examples
        --------
        >>> model = Classifier(nn.Sequential(nn.Linear(4, 2), nn.Dropout()), classes=("cat", "dog"))
        >>> with model.evaluating():
        ...     model.module[1].training
        False
        >>> model.module[1].training
        True
        """
        with modes_kept(self.module):
            self.module.eval()
            yield self

    def copy(self) -> "Classifier":
        """Copy the classifier, weights included; preprocessing and names are shared.

        Returns
        -------
        Classifier
            Training it leaves this one as it is.
        """
        from .runs.lineage import inherit

        copied = self.with_module(copy.deepcopy(self.module))
        inherit(copied, self)
        return copied

    def with_module(self, module: nn.Module) -> "Classifier":
        """Give another module the same preprocessing and names: a copy on another device, say.

        Parameters
        ----------
        module : torch.nn.Module
            Of the same structure.

        Returns
        -------
        Classifier
        """
        return Classifier(
            module,
            self.classes,
            self.preprocess,
            self.on,
            self._embedding,
            factory=self.factory,
            arguments=self.arguments,
            offsets=self.offsets,
            padding=self.padding,
        )


def as_classifier(model: object) -> Classifier:
    """Return the classifier that is meant: itself, or the `model` of a run or a training.

    Raises
    ------
    ClassifierError
        If it is neither, with the way out.
    """
    held = getattr(model, "model", None)
    if isinstance(model, Classifier):
        return model
    if isinstance(held, Classifier):
        return held
    if isinstance(model, nn.Module):
        way = "give it names and a column: wb.Classifier(module, classes=[...], on='image')"
    else:
        way = "wb.Classifier(module, classes=[...], on='image') makes one"
    raise ClassifierError(f"This needs a Classifier, or a run; got {type(model).__name__}; {way}.")


def _checked_names(classes: Sequence[str]) -> tuple[str, ...]:
    """Check class names; one string is not a sequence of names."""
    names = (classes,) if isinstance(classes, str) else tuple(classes)
    if isinstance(classes, str) or not names or not all(isinstance(name, str) for name in names):
        raise ClassifierError(f"`classes` must be the names of the classes, as text and in order; got {classes!r}.")
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ClassifierError(f"Class names must be unique; {', '.join(map(repr, repeated))} repeat.")
    return names
