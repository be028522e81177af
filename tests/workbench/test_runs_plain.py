"""Settings, losses and counterexamples as JSON and back."""

import json
from dataclasses import dataclass, fields, replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import explain
from explain import RationaleLoss, RightReasons, Swap
from explain.counterexamples import Added, Constant, DropTokens, Refill
from workbench import recipe
from workbench.errors import RunFileError
from workbench.record import TrainingSettings
from workbench.runs.plain import from_plain, to_plain

NUMBERS = st.floats() | st.integers() | st.booleans() | st.none() | st.text()
PLAIN = st.recursive(
    NUMBERS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.text(), inner, max_size=4)
    ),
    max_leaves=12,
)


def there_and_back(value):
    tensors = {}
    return from_plain(json.loads(json.dumps(to_plain(value, tensors))), tensors)


def same(first, second):
    """Equal in type and bits, at any depth."""
    if type(first) is not type(second):
        return False
    if isinstance(first, float):
        return repr(first) == repr(second)  # of -0.0 and of what is no number as well
    if isinstance(first, (list, tuple)):
        return len(first) == len(second) and all(map(same, first, second))
    if isinstance(first, dict):
        return list(first) == list(second) and all(same(first[key], second[key]) for key in first)
    return first == second


@given(PLAIN)
@settings(deadline=None)
def test_plain_values_come_back_exactly(value):
    assert same(there_and_back(value), value)


LOSSES = [
    kind
    for kind in (getattr(explain.losses, name) for name in explain.losses.__all__)
    if isinstance(kind, type) and issubclass(kind, RationaleLoss) and not kind.__abstractmethods__
]
FILLERS = [kind for kind in Refill.__subclasses__() if kind.__module__.startswith("explain.")]


@pytest.mark.parametrize("kind", [kind for kind in LOSSES if kind is not explain.losses.WeightedSum])
def test_every_loss_comes_back_as_it_was(kind):
    needed = {"layer": "features.1", "layers": ("a", "b"), "direction": (0.6, 0.8)}
    loss = kind(**{f.name: needed[f.name] for f in fields(kind) if f.name in needed})
    assert there_and_back(loss) == loss
    assert there_and_back(0.3 * loss + RightReasons()) == 0.3 * loss + RightReasons()


@pytest.mark.parametrize("kind", FILLERS)
def test_every_counterexample_comes_back_as_it_was(kind):
    made = kind(**({"token": 3} if kind.__name__ == "ReplaceTokens" else {}))
    assert there_and_back(made) == made
    assert there_and_back(Added(made, copies=2)) == Added(made, copies=2)


@given(
    st.integers(1, 10**6),
    st.floats(1e-12, 1e6),
    st.integers(0, 2**63),
    st.sampled_from([None, Swap(), Constant((0.1, 0.2, 0.3)), Added(DropTokens(7), copies=3)]),
    st.sampled_from(
        [None, RightReasons(weight="auto"), RightReasons(class_weights=(1.0, 2.0)) + 2 * RightReasons(norm="l1")]
    ),
)
@settings(deadline=None, max_examples=50)
def test_settings_come_back_as_they_were(steps, lr, seed, counterexamples, loss):
    made = TrainingSettings(steps, 32, lr, seed, counterexamples=counterexamples, loss=loss, penalty_from=0.25)
    assert there_and_back(made) == made
    assert there_and_back(recipe("mnist").fine_tune) == recipe("mnist").fine_tune


def test_tensors_are_kept_beside_and_come_back_in_their_place():
    loss = explain.losses.ExpectedGradientPrior(references=torch.arange(6.0).reshape(2, 3))
    tensors = {}
    plain = json.dumps(to_plain((loss, replace(loss, weight=2.0)), tensors))
    first, second = from_plain(json.loads(plain), tensors)
    assert torch.equal(first.references, loss.references)
    assert second.references is first.references, "one tensor is kept once"


def test_what_has_no_exact_form_is_written_in_words_and_refused_when_read():
    loss = RightReasons(target=lambda logits: logits.sum(dim=1))
    with pytest.raises(RunFileError, match=r"what a file cannot: .*lambda.*Give the settings again"):
        there_and_back(loss)
    with pytest.raises(RunFileError, match="tensor of shape"):
        from_plain(to_plain(torch.zeros(2)))


@dataclass(frozen=True)
class Elsewhere(RightReasons):
    """A loss of somebody's own, in a module that is loaded."""

    extra: float = 1.0


@dataclass(frozen=True)
class NoLoss:
    command: str = "rm"


def test_a_loss_of_ones_own_is_found_where_it_is_loaded_and_nothing_else_is_made():
    assert there_and_back(Elsewhere(extra=2.0)) == Elsewhere(extra=2.0)
    with pytest.raises(RunFileError, match="is none of them"):
        there_and_back(NoLoss())


SETTINGS = "workbench.record:TrainingSettings"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"class": "subprocess:Popen", "fields": {"args": "true"}}, "is none of them"),
        ({"class": "antigravity:Loss", "fields": {}}, "is not loaded, and is not imported because a file names it"),
        ({"class": "workbench.classifier:os.path", "fields": {}}, "which is not loaded"),
        ({"class": "os:system", "fields": {}}, "which is not loaded"),
        ({"class": "workbench.__main__:x", "fields": {}}, "must read 'package.module:name'"),
        ({"class": "workbench.nowhere:X", "fields": {}}, "this version does not have"),
        (
            {"class": "workbench.record:TrainingSettings", "fields": {"steps": 0, "batch_size": 1, "lr": 1}},
            "does not take",
        ),
        ({"class": "workbench.record:TrainingSettings", "fields": {"speed": 1}}, "no field 'speed'. It was written by"),
        ({"float": "1e5"}, "something unknown"),
        ({"tensor": "gone"}, "something unknown"),
        ({}, "something unknown"),
    ],
)
def test_a_file_cannot_ask_for_anything_else(data, words):
    with pytest.raises(RunFileError, match=words):
        from_plain(data)


def test_settings_nested_without_end_are_refused():
    deep = []
    for _ in range(200):
        deep = [deep]
    with pytest.raises(RunFileError, match="nested"):
        from_plain(deep)
    with pytest.raises(RunFileError, match="nested"):
        to_plain(deep)
