"""Classifiers on disk: weights as safetensors, and how to build the module as JSON; no pickle.

::

    model/
      classifier.json       classes, column, how to build the module, how to prepare a batch
      weights.safetensors   every parameter and buffer; replaced in one step
      source.txt            the text of a class that cannot be imported, for the reader's eye

A file may have been written by anybody: no module that it names is imported unless it is trusted.
"""

from __future__ import annotations

import inspect
import json
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ..classifier import Classifier
from ..errors import ClassifierError, RunFileError
from .files import field, read_json, replace_file, write_json
from .lineage import Maker, maker_of, remember, runs_around
from .names import find_callable, import_path
from .plain import from_plain
from .record import RUN_ID
from .structure import build, call_factory, describe
from .weights import fill, read_weights, write_weights

__all__ = ["ChangedModuleWarning", "open_classifier", "save_classifier", "save_structure"]

STRUCTURE = "classifier.json"
WEIGHTS = "weights.safetensors"
SOURCE = "source.txt"


class ChangedModuleWarning(UserWarning):
    """A factory made a module that is not printed as the one that was saved."""


def save_classifier(classifier: Classifier, path: str | os.PathLike[str], **notes: str) -> str:
    """Write a classifier to a directory.

    Parameters
    ----------
    classifier : Classifier
        Its weights may lie on any device.
    path : str or Path
        Directory; made if it is not there.
    **notes
        Kept beside the weights.

    Returns
    -------
    str
        Digest of the weights.

    Raises
    ------
    ClassifierError
        If the module holds a state that is no tensor, or one of a kind that no file holds.
    RunFileError
        If the directory holds a classifier that is built otherwise.

    Examples
    --------
    >>> import tempfile
    >>> import torch
    >>> place = tempfile.mkdtemp()
    >>> model = Classifier(nn.Linear(4, 2), classes=("cat", "dog"))
    >>> digest = save_classifier(model, place)
    >>> torch.equal(open_classifier(place).module.weight, model.module.weight)
    True
    """
    root = Path(path)
    root.mkdir(parents=True, exist_ok=True)
    structure = _structure(classifier)
    # Two files cannot be replaced in one step: either order is right as long as both are of one architecture.
    if (root / STRUCTURE).exists():
        before = read_json(root, STRUCTURE)
        if any(before.get(name) != structure[name] for name in ("class", "build", "classes", "printed")):
            raise RunFileError(
                f"'{root}' holds another classifier, a {before.get('class')}. Save elsewhere, or remove that one first."
            )
    digest = write_weights(root / WEIGHTS, classifier.module.state_dict(), **notes)
    save_structure(classifier, root)
    return digest


def save_structure(classifier: Classifier, root: Path, maker: Maker | None = None) -> None:
    """Write how a classifier is built, without its weights, and which run makes it if not the one that did so far."""
    source = _source(classifier)
    if source is not None:
        replace_file(root / SOURCE, source.encode("utf-8", "replace"))
    write_json(root / STRUCTURE, _structure(classifier, maker))


def _structure(classifier: Classifier, maker: Maker | None = None) -> dict[str, Any]:
    """Return all of a classifier but its weights, for JSON and as it comes from there."""
    module, maker = classifier.module, maker or maker_of(classifier)
    fields = {
        "class": f"{type(module).__module__}.{type(module).__qualname__}",
        "build": describe(classifier),
        "classes": list(classifier.classes),
        "on": classifier.on,
        "embedding": classifier.embedding_layer,
        "preprocess": import_path(classifier.preprocess),
        "offsets": None if classifier.offsets is None else import_path(classifier.offsets),
        "padding": classifier.padding,
        "frozen": [name for name, weight in module.named_parameters() if not weight.requires_grad],
        "training": module.training,
        "otherwise": [name for name, part in module.named_modules() if part.training != module.training],
        "printed": repr(module),
        "maker": None if maker is None else {"run": maker.run, "weights": maker.weights},
    }
    plain: dict[str, Any] = json.loads(json.dumps(fields))
    return plain


def open_classifier(
    path: str | os.PathLike[str],
    *,
    factory: Callable[..., nn.Module] | None = None,
    preprocess: Callable[[Any], Tensor] | None = None,
    offsets: Callable[[list[str]], Tensor] | None = None,
    trust: Sequence[str] = (),
    state: Mapping[str, Tensor] | None = None,
) -> Classifier:
    """Return the classifier in a directory; see `Classifier.open`.

    Parameters
    ----------
    path, factory, preprocess, offsets, trust
        As there.
    state : mapping of str to Tensor, optional
        Weights in place of those in the directory.

    Warns
    -----
    ChangedModuleWarning
        If the module that a factory makes is not printed as the one that was saved.
    """
    root = Path(os.path.realpath(path))
    fields, where = read_json(root, STRUCTURE), root / STRUCTURE
    trusted = (trust,) if isinstance(trust, str) else tuple(trust)
    prepare = _preprocess(fields, preprocess, trusted, where)
    places = field(fields, "offsets", str, None, where=where)
    if offsets is None and places is not None:
        offsets = find_callable(places, "offsets", trusted)
    how = field(fields, "build", dict, None, where=where)
    made, arguments = factory, None
    if factory is not None:
        module = call_factory(factory, {}, getattr(factory, "__qualname__", repr(factory)))
    elif how is None:
        text = " Its text is in 'source.txt'." if (root / SOURCE).is_file() else ""
        raise ClassifierError(
            f"'{where}' cannot tell how its {field(fields, 'class', str, where=where)} is built: it was made in a "
            f"notebook, or by nothing that holds its arguments. Pass `factory=`, which makes one.{text}"
        )
    else:
        module = build(how, trusted)
        if "arguments" in how:
            made = find_callable(how["class"], "factory", trusted)
            arguments = {name: from_plain(value) for name, value in how["arguments"].items()}
    fill(module, state if state is not None else read_weights(root, WEIGHTS)[0])
    _check_printed(module, fields, where)
    _set_modes(module, fields, where)
    opened = Classifier(
        module,
        field(fields, "classes", list, where=where),
        prepare,
        field(fields, "on", str, where=where),
        field(fields, "embedding", str, None, where=where),
        factory=made,
        arguments=arguments,
        offsets=offsets,
        padding=field(fields, "padding", int, 0, where=where),
    )
    made_by = field(fields, "maker", dict, None, where=where)
    if made_by is not None:
        run, digest = (field(made_by, name, str, where=where) for name in ("run", "weights"))
        if not RUN_ID.fullmatch(run):
            raise RunFileError(f"'{where}' is damaged: 'run' must be letters, digits and '-'; got {run!r}.")
        remember(opened, Maker(run, digest, folder=runs_around(root)))
    return opened


def _preprocess(
    fields: Mapping[str, Any], given: Callable[[Any], Tensor] | None, trust: Sequence[str], where: Path
) -> Callable[[Any], Tensor]:
    """Return what prepares a batch: given, or named in the file and trusted."""
    if given is not None:
        return given
    path = field(fields, "preprocess", str, None, where=where)
    if path is None:
        raise ClassifierError(
            f"'{where}' cannot tell how a batch is prepared: the function has no name under which it could be found "
            "again (a lambda, or one of a notebook). Pass `preprocess=`."
        )
    found: Callable[[Any], Tensor] = find_callable(path, "preprocess", trust)
    return found


def _set_modes(module: nn.Module, fields: Mapping[str, Any], where: Path) -> None:
    """Freeze what was frozen, and put each part into the mode that it was in."""
    frozen = set(field(fields, "frozen", list, where=where))
    for name, weight in module.named_parameters():
        weight.requires_grad_(name not in frozen)
    training, otherwise = (
        field(fields, "training", bool, where=where),
        set(field(fields, "otherwise", list, where=where)),
    )
    for name, part in module.named_modules():
        part.training = training != (name in otherwise)


def _check_printed(module: nn.Module, fields: Mapping[str, Any], where: Path) -> None:
    """Warn if the module does not print as the one that was saved: dropout, say, has no weights to tell."""
    if repr(module) != field(fields, "printed", str, where=where):
        warnings.warn(
            f"The module built for '{where.parent}' does not print as the one that was saved, though its weights fit: "
            f"see 'printed' in '{where}'. What has no weights, a share of dropout say, may differ.",
            ChangedModuleWarning,
            stacklevel=4,
        )


def _source(classifier: Classifier) -> str | None:
    """Return the text of what cannot be imported, for the reader's eye: it is never run."""
    texts = []
    for thing in (classifier.factory, type(classifier.module), classifier.preprocess, classifier.offsets):
        if thing is None or import_path(thing) is not None:
            continue
        try:
            texts.append(inspect.getsource(thing))
        except (OSError, TypeError):
            continue  # typed at a prompt, or written in C: there is no text
    return "\n\n".join(dict.fromkeys(texts)) or None
