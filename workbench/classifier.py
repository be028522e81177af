"""Classifier: a torch module, how to feed it, and what its outputs are called."""

import copy
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from difflib import get_close_matches
from typing import Any

import torch
from torch import Tensor, nn

import explain
from explain.layers import modes_kept

from .errors import ClassifierError, LayerError

__all__ = ["Classifier", "check_classifier", "to_unit_interval"]

# The name under which every classifier offers its embedding, whatever the layer is called inside.
EMBEDDING = "embedding"


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


class Classifier:
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

    def with_layers(self, inputs: Tensor, names: Sequence[str]) -> tuple[Tensor, dict[str, Tensor]]:
        """Run the module once and keep the activations of the layers named.

        Parameters
        ----------
        inputs : Tensor, shape (batch, *event)
            Model inputs.
        names : sequence of str
            Layers as in ``module.named_modules()``, and "embedding", which always means the
            embedding of the classifier.

        Returns
        -------
        Tensor, shape (batch, classes), float
            Logits.
        dict of str to Tensor
            The output of each layer (of its last call, if it is called several times), connected
            to the logits through autograd. For the default embedding, the input of the last linear layer.

        Raises
        ------
        LayerError
            If a layer does not exist, returns something else than a tensor, or did not run.
        ClassifierError
            As for a call.
        """
        wanted = {name: self._resolved(name) for name in dict.fromkeys(names)}
        inner = [layer for layer in wanted.values() if layer is not None]
        kept: dict[str, Tensor] = {}
        with ExitStack() as hooks:
            if len(inner) < len(wanted):
                hooks.callback(self._keep_embedding(kept).remove)
            try:
                logits, layers = explain.with_layers(self.module, inputs, inner)
            except explain.LayerError as error:
                raise LayerError(str(error)) from error
        self._check_logits(logits, inputs)
        if len(inner) < len(wanted) and not kept:
            raise LayerError("The last torch.nn.Linear must run to give the embedding; it did not. Name another layer.")
        return logits, {name: kept[EMBEDDING] if layer is None else layers[layer] for name, layer in wanted.items()}

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
        return self.with_module(copy.deepcopy(self.module))

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

    @property
    def embedding_layer(self) -> str | None:
        """Name of the layer whose output is the embedding; None for the input of the last linear layer."""
        return self._embedding

    @property
    def has_embedding(self) -> bool:
        """Whether there is a layer to take the embedding from."""
        return self._embedding is not None or any(isinstance(m, nn.Linear) for m in self.module.modules())

    def check_layer(self, name: str) -> None:
        """Raise if there is no layer of that name.

        Raises
        ------
        LayerError
            With the nearest name.
        """
        if name != EMBEDDING or self._embedding is not None:
            self._find(self._embedding if name == EMBEDDING and self._embedding else name)

    def _find(self, name: str) -> nn.Module:
        """Find a submodule by name, or raise with the nearest name."""
        parts: dict[str, nn.Module] = dict(self.module.named_modules())
        if name in parts:
            return parts[name]
        names = [part for part in parts if part]
        near = get_close_matches(name, [*names, EMBEDDING], n=1)
        guess = f"; did you mean {near[0]!r}?" if near else "."
        raise LayerError(f"No layer {name!r} in this {type(self.module).__name__}{guess} It has: {', '.join(names)}.")

    def _resolved(self, name: str) -> str | None:
        """Return the name of a layer inside the module; None for the default embedding, which is an input."""
        if name != EMBEDDING:
            self._find(name)
            return name
        return self._embedding

    def _keep_embedding(self, kept: dict[str, Tensor]) -> torch.utils.hooks.RemovableHandle:
        """Hook the last linear layer so that its input lands in `kept`."""
        linear = [part for part in self.module.modules() if isinstance(part, nn.Linear)]
        if not linear:
            raise LayerError(
                "The default embedding is the input of the last torch.nn.Linear, and this "
                f"{type(self.module).__name__} has none; name a layer: Classifier(..., embedding='...')."
            )

        def keep(part: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
            kept[EMBEDDING] = inputs[0]
            # The layer goes on with a copy, so that nothing later can overwrite what is kept.
            return (inputs[0].clone(), *inputs[1:])

        return linear[-1].register_forward_pre_hook(keep)

    def _check_logits(self, logits: Any, inputs: Tensor) -> None:
        """Raise unless there is one logit for each row and class."""
        if not isinstance(logits, Tensor):
            raise ClassifierError(
                f"The module must return a tensor of logits; got {type(logits).__name__}. "
                "Wrap it in a module that picks the logits."
            )
        if tuple(logits.shape) != (len(inputs), len(self.classes)):
            raise ClassifierError(
                f"The module must return one logit per row and class, shape ({len(inputs)}, "
                f"{len(self.classes)}) for the {len(self.classes)} classes named; got {tuple(logits.shape)} "
                f"for inputs of shape {tuple(inputs.shape)}."
            )


def check_classifier(model: object) -> None:
    """Raise unless `model` is a classifier; a module, or what a training returned, is told the way.

    Raises
    ------
    ClassifierError
        With the way out.
    """
    if isinstance(model, Classifier):
        return
    if isinstance(model, nn.Module):
        way = "give it names and a column: wb.Classifier(module, classes=[...], on='image')"
    elif isinstance(getattr(model, "model", None), Classifier):
        way = "a training holds it as `.model`"
    else:
        way = "wb.Classifier(module, classes=[...], on='image') makes one"
    raise ClassifierError(f"This needs a Classifier; got {type(model).__name__}; {way}.")


def _checked_names(classes: Sequence[str]) -> tuple[str, ...]:
    """Check class names; one string is not a sequence of names."""
    names = (classes,) if isinstance(classes, str) else tuple(classes)
    if isinstance(classes, str) or not names or not all(isinstance(name, str) for name in names):
        raise ClassifierError(f"`classes` must be the names of the classes, as text and in order; got {classes!r}.")
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ClassifierError(f"Class names must be unique; {', '.join(map(repr, repeated))} repeat.")
    return names
