"""Which weights of a classifier a training may change, and how to read the state that they are in."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from .errors import RunError
from .modes import seeded

if TYPE_CHECKING:
    from .classifier import Classifier

__all__ = ["TrainedWeights", "check_choice"]

# Low-rank additions of rank 8, where no rank is said.
RANK = 8
CHOICES = "'all', 'head', 'last:2' (any number), 'lora' or 'lora:8' (any rank)"


def check_choice(choice: str) -> tuple[str, int]:
    """Read a choice of weights.

    Parameters
    ----------
    choice : {"all", "head", "last:n", "lora", "lora:rank"}
        What is to be trained.

    Returns
    -------
    str
        The word before the colon.
    int
        The number after it; 0 where there is none to be.

    Raises
    ------
    RunError
        If it is none of these.

    Examples
    --------
    >>> check_choice("last:2"), check_choice("lora")
    (('last', 2), ('lora', 8))
    """
    found = re.fullmatch(r"(all|head|last|lora)(?::([1-9][0-9]*))?", choice) if isinstance(choice, str) else None
    word, number = found.groups() if found else ("", None)
    if not found or (word == "last" and number is None) or (word in ("all", "head") and number is not None):
        raise RunError(f"`weights` must be {CHOICES}; got {choice!r}.")
    return word, int(number) if number else RANK if word == "lora" else 0


class TrainedWeights:
    """The weights of a classifier that a training may change.

    Everything else is frozen meanwhile, and stays as it is to the last bit. Low-rank additions [1]_ are laid
    beside each linear and convolutional layer but the head, which is trained itself, and those whose weight has
    another place in the module too; in the end they are added to the weights, so that the module is built as before.

    Parameters
    ----------
    classifier : Classifier
        The copy that is trained; changed in place.
    choice : {"all", "head", "last:n", "lora", "lora:rank"}
        The head is the last `torch.nn.Linear`; ``last:n`` are the last n parts of the module, in the order in
        which it lists them, that have weights of their own. What was frozen before stays so.
    seed : int
        Draws the low-rank additions.

    Attributes
    ----------
    trained : list of torch.nn.Parameter
        What an optimiser is to be given.

    Raises
    ------
    RunError
        If there is nothing to train, or less than was asked for, or peft is missing.

    References
    ----------
    .. [1] E. J. Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", ICLR 2022.

    Examples
    --------
    >>> from workbench import Classifier
    >>> model = Classifier(nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2)), classes=("a", "b"))
    >>> [tuple(weight.shape) for weight in TrainedWeights(model, "head").trained]
    [(2, 3), (2,)]
    """

    def __init__(self, classifier: Classifier, choice: str, seed: int = 0) -> None:
        self._module = classifier.module
        self._flags = [(weight, weight.requires_grad) for weight in self._module.parameters()]
        self._names = list(self._module.state_dict())
        self._tuner: Any = None
        word, number = check_choice(choice)
        free = [weight for weight, wanted in self._flags if wanted]
        if not free:
            raise RunError("A classifier must have weights to train; none of this one's requires a gradient.")
        if word == "lora":
            head = _head(self._module)
            self._adapt(head, number, seed)
            for weight in head.parameters():
                weight.requires_grad_(any(weight is one for one in free))
        elif word != "all":
            parts = [_head(self._module)] if word == "head" else _last(self._module, number)
            chosen = {id(weight) for part in parts for weight in part.parameters(recurse=False)}
            for weight, wanted in self._flags:
                weight.requires_grad_(wanted and id(weight) in chosen)
        self.trained = [weight for weight in self._module.parameters() if weight.requires_grad]
        if not self.trained:
            self.finish(self.state())
            raise RunError(f"`weights={choice!r}` must leave something to train; all of it is frozen in this module.")

    def state(self) -> dict[str, Tensor]:
        """Copy the state of the module, under the names that it had before, low-rank additions added up."""
        with torch.no_grad():
            found = {name: _copied(value) for name, value in self._module.state_dict().items()}
            for place, layer in self._adapted():
                for name, _ in (*layer.base_layer.named_parameters(), *layer.base_layer.named_buffers()):
                    found[f"{place}.{name}"] = found.pop(f"{place}.base_layer.{name}")
                change = layer.get_delta_weight("default")
                # Where nothing was added yet the weights stay what they are, the sign of a zero included.
                if change.any():
                    found[f"{place}.weight"] += change
        return {name: found[name] for name in self._names}

    def finish(self, state: Mapping[str, Tensor]) -> None:
        """Take low-rank additions off, put the module in a state, and what was frozen back as it was found."""
        if self._tuner is not None:
            self._tuner.unload()
            self._tuner = None
        self._module.load_state_dict(state)
        for weight, wanted in self._flags:
            weight.requires_grad_(wanted)
            weight.grad = None

    @contextmanager
    def additions_seen(self) -> Iterator[None]:
        """Keep torch from reading weights past their layers, as its fused transformer does in evaluation mode."""
        fused = torch.backends.mha.get_fastpath_enabled()
        torch.backends.mha.set_fastpath_enabled(fused and self._tuner is None)
        try:
            yield
        finally:
            torch.backends.mha.set_fastpath_enabled(fused)

    def _adapt(self, head: nn.Module, rank: int, seed: int) -> None:
        """Lay low-rank additions beside the layers of the module."""
        # What is added at one place of a weight would be missing at the other, and there is no one sum in the end.
        uses = Counter(id(weight) for _, weight in self._module.named_parameters(remove_duplicate=False))
        places = [
            name
            for name, part in self._module.named_modules()
            if name and part is not head and _is_adaptable(part) and uses[id(part.get_parameter("weight"))] == 1
        ]
        if not places:
            raise RunError(
                "`weights='lora'` needs linear or convolutional layers before the head, neither frozen nor "
                f"shared; this {type(self._module).__name__} has none. Train the head itself: weights='head'."
            )
        try:
            from peft import LoraConfig
            from peft.tuners.lora import LoraModel
        except ImportError as error:
            raise RunError(
                "`weights='lora'` needs peft: pip install 'rationale-workbench[lora]'; or train the last layers: "
                "weights='last:2'."
            ) from error
        with seeded(seed, next(self._module.parameters()).device):
            config = LoraConfig(r=rank, lora_alpha=rank, target_modules=_exactly(places))
            self._tuner = LoraModel(self._module, {"default": config}, "default")

    def _adapted(self) -> list[tuple[str, Any]]:
        """Name the layers that have low-rank additions."""
        if self._tuner is None:
            return []
        return [(name, part) for name, part in self._module.named_modules() if hasattr(part, "lora_A")]


def _copied(value: Any) -> Any:
    """Copy a tensor, or whatever else a module keeps as its extra state."""
    return value.detach().clone() if isinstance(value, Tensor) else deepcopy(value)


def _head(module: nn.Module) -> nn.Linear:
    """Find the last linear layer."""
    linear = [part for part in module.modules() if isinstance(part, nn.Linear)]
    if not linear:
        raise RunError(
            f"The head is the last torch.nn.Linear, and this {type(module).__name__} has none; "
            "choose by number: weights='last:1'."
        )
    return linear[-1]


def _last(module: nn.Module, number: int) -> list[nn.Module]:
    """Find the last parts that have weights of their own."""
    parts = [part for part in module.modules() if next(part.parameters(recurse=False), None) is not None]
    if len(parts) < number:
        raise RunError(
            f"`weights='last:{number}'` needs {number} parts with weights; this {type(module).__name__} has "
            f"{len(parts)}. Train all of them: weights='all'."
        )
    return parts[-number:]


def _is_adaptable(part: nn.Module) -> bool:
    """Whether low-rank additions can be laid beside a layer; a convolution in groups has no such form."""
    known = type(part) in (nn.Linear, nn.Conv2d) and getattr(part, "groups", 1) == 1
    return known and bool(part.get_parameter("weight").requires_grad)


def _exactly(names: list[str]) -> str:
    """Return the pattern of these names: as a list, peft would take each for the end of a name."""
    return "|".join(map(re.escape, names))
