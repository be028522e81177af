"""Classifiers on disk: what is written comes back, and a file runs nothing that is not trusted."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import nn

from workbench import Classifier, recipe
from workbench.errors import ClassifierError, RunFileError, UntrustedError
from workbench.nets import Conv5, Mlp, SmallConv
from workbench.runs.models import ChangedModuleWarning
from workbench.runs.structure import build, describe
from workbench.runs.weights import fill, read_weights, state_digest, write_weights

ROOT = Path(__file__).parents[2]
NAMES = ("cat", "dog")


def to_float(batch):
    return batch.float()


class Tied(nn.Module):
    """Shares its weights, and holds buffers."""

    def __init__(self, width=4):
        super().__init__()
        self.arguments = {"width": width}
        self.first = nn.Linear(width, width)
        self.second = nn.Linear(width, width)
        self.second.weight = self.first.weight
        self.head = nn.Linear(width, 2)
        self.register_buffer("mean", torch.arange(float(width)))
        self.register_buffer("count", torch.tensor(7))

    def forward(self, inputs):
        return self.head(self.second(self.first(inputs - self.mean)))


def same(first, second):
    one, other = first.module.state_dict(), second.module.state_dict()
    return list(one) == list(other) and all(
        one[name].dtype == other[name].dtype and torch.equal(one[name], other[name]) for name in one
    )


@pytest.mark.parametrize(
    "module",
    [
        recipe("digits").build(0),
        Mlp((3, 4), (5,), 2),
        Conv5((2, 3), 4),
        nn.Linear(4, 2, bias=False),
        nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.BatchNorm1d(3), nn.GELU("tanh"), nn.Dropout(0.25)),
        nn.Sequential(nn.Sequential(nn.Conv2d(1, 2, 3, padding="same")), nn.GroupNorm(1, 2), nn.MaxPool2d(2)),
        nn.Sequential(nn.Embedding(9, 4, padding_idx=0), nn.LayerNorm(4, eps=1e-3)),
    ],
    ids=lambda module: type(module).__name__,
)  # fmt: skip
def test_networks_that_tell_how_they_are_built_come_back_without_help(module, tmp_path):
    before = Classifier(module, NAMES, on="photo")
    before.save(tmp_path)
    state = torch.get_rng_state()
    after = Classifier.open(tmp_path)
    assert torch.equal(torch.get_rng_state(), state)
    assert same(before, after)
    assert repr(after.module) == repr(module)
    assert (after.classes, after.on, after.preprocess) == (NAMES, "photo", before.preprocess)
    after.save(tmp_path / "again")
    assert same(before, Classifier.open(tmp_path / "again"))


def test_modes_frozen_weights_and_the_embedding_come_back(tmp_path):
    module = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 2)).eval()
    module[1].train()
    module[0].weight.requires_grad_(False)
    Classifier(module, NAMES, embedding="1").save(tmp_path)
    after = Classifier.open(tmp_path)
    assert [part.training for part in after.module] == [False, True, False]
    assert [weight.requires_grad for weight in after.module.parameters()] == [False, True, True, True, True, True]
    assert after.embedding_layer == "1"


def test_a_network_of_somebody_elses_that_holds_its_arguments_is_built_again_where_it_is_trusted(tmp_path):
    before = Classifier(Tied(6), NAMES)
    before.save(tmp_path)
    with pytest.raises(UntrustedError, match="trust="):
        Classifier.open(tmp_path)
    assert same(before, Classifier.open(tmp_path, trust=[__name__]))


def test_tied_weights_are_written_once_and_stay_tied(tmp_path):
    before = Classifier(Tied(64), NAMES, factory=Tied, arguments={"width": 64})
    before.save(tmp_path)
    assert "second.weight" not in load_file(tmp_path / "weights.safetensors")
    after = Classifier.open(tmp_path, trust=[__name__])
    assert same(before, after)
    assert after.module.second.weight is after.module.first.weight
    assert after.module.count.dtype == torch.int64


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_any_precision_comes_back_also_where_the_factory_makes_another(dtype, tmp_path):
    before = Classifier(Tied().to(dtype), NAMES)
    before.save(tmp_path)
    after = Classifier.open(tmp_path, factory=Tied)
    assert same(before, after)
    assert after.module.head.weight.dtype == dtype
    assert after.module.second.weight is after.module.first.weight


def test_memory_layout_does_not_count_and_channels_last_comes_back(tmp_path):
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4, 2))
    digest = state_digest(module.state_dict())
    module[2].weight.data = module[2].weight.data.t().contiguous().t()
    module = module.to(memory_format=torch.channels_last)
    assert state_digest(module.state_dict()) == digest
    before = Classifier(module, NAMES)
    before.save(tmp_path)
    after = Classifier.open(tmp_path)
    assert same(before, after)
    assert after.module[0].weight.is_contiguous(memory_format=torch.channels_last)


STATES = st.dictionaries(
    st.text("abc.", min_size=1, max_size=6),
    st.tuples(
        st.lists(st.integers(0, 3), max_size=3),
        st.sampled_from([torch.float32, torch.bfloat16, torch.int64, torch.bool, torch.uint8]),
        st.integers(0, 99),
    ),
    max_size=4,
)


@given(STATES)
@settings(deadline=None, max_examples=40)
def test_any_state_comes_back_with_the_same_digest(tmp_path_factory, shapes):
    state = {
        name: (torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * 3).to(dtype)
        for name, (shape, dtype, seed) in shapes.items()
    }
    root = tmp_path_factory.mktemp("state")
    digest = write_weights(root / "w.safetensors", state, step="3")
    found, notes = read_weights(root, "w.safetensors")
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], state[name]) and found[name].dtype == state[name].dtype for name in state)
    assert state_digest(found) == digest == notes["digest"]
    assert notes["step"] == "3"
    for name in state:
        if state[name].numel():
            assert state_digest({**state, name: state[name].logical_not()}) != digest
    assert [path.name for path in root.iterdir()] == ["w.safetensors"], "no draft is left behind"


def test_what_cannot_be_saved_is_told(tmp_path):
    class Extra(nn.Linear):
        def get_extra_state(self):
            return {"anything": 1}

    with pytest.raises(ClassifierError, match="'_extra_state' is dict"):
        Classifier(Extra(4, 2), NAMES).save(tmp_path)
    with torch.device("meta"):
        ghost = nn.Linear(4, 2)
    with pytest.raises(ClassifierError, match=r"'bias' is without data|'weight' is without data"):
        Classifier(ghost, NAMES).save(tmp_path)
    with pytest.raises(ClassifierError, match="Arguments of a factory must be plain values"):
        Classifier(Tied(), NAMES, factory=Tied, arguments={"width": torch.tensor(4)}).save(tmp_path)


def test_a_directory_takes_another_state_of_its_classifier_and_no_other_classifier(tmp_path):
    Classifier(nn.Linear(4, 2), NAMES).save(tmp_path)
    before = Classifier(nn.Linear(4, 2).eval(), NAMES)
    before.save(tmp_path)
    assert same(before, Classifier.open(tmp_path))
    with pytest.raises(RunFileError, match=r"holds another classifier, a torch.nn.modules.linear.Linear"):
        Classifier(nn.Linear(5, 2), NAMES).save(tmp_path)
    assert same(before, Classifier.open(tmp_path))


# Weights that do not fit


def test_weights_that_do_not_fit_are_told_by_name_shape_and_kind():
    module = nn.Linear(4, 2)
    state = module.state_dict()
    with pytest.raises(ClassifierError, match=r"none for 'bias', and the module no place for 'bia' \(renamed: bia\?\)"):
        fill(module, {"weight": state["weight"], "bia": state["bias"]})
    with pytest.raises(ClassifierError, match=r"'weight' has shape \(2, 4\) in the module and \(4, 2\) in the file"):
        fill(module, {**state, "weight": torch.zeros(4, 2)})
    with pytest.raises(ClassifierError, match=r"'bias' is torch.float32 in the module and torch.int64 in the file"):
        fill(module, {**state, "bias": torch.zeros(2, dtype=torch.int64)})
    tied = Tied()
    with pytest.raises(ClassifierError, match=r"'second.weight' and 'first.weight' are one tensor"):
        fill(tied, {**tied.state_dict(), "second.weight": torch.zeros(4, 4)})


def test_a_factory_of_another_network_is_told(tmp_path):
    Classifier(Mlp((4,), (3,), 2), NAMES).save(tmp_path)
    with pytest.raises(ClassifierError, match="do not fit this SmallConv"):
        Classifier.open(tmp_path, factory=SmallConv)
    with pytest.raises(ClassifierError, match=r"must return a torch.nn.Module; got int"):
        Classifier.open(tmp_path, factory=lambda: 3)
    with pytest.raises(ClassifierError, match=r"could not be called.*ValueError: no"):
        Classifier.open(tmp_path, factory=lambda: (_ for _ in ()).throw(ValueError("no")))


def test_what_has_no_weights_may_differ_and_a_warning_says_so(tmp_path):
    Classifier(nn.Sequential(nn.Dropout(0.5), nn.Linear(4, 2)), NAMES).save(tmp_path)
    with pytest.warns(ChangedModuleWarning, match="does not print as the one that was saved"):
        Classifier.open(tmp_path, factory=lambda: nn.Sequential(nn.Dropout(0.1), nn.Linear(4, 2)))


# Notebooks and trust


def test_a_class_of_a_notebook_is_saved_with_its_text_and_asks_for_a_factory(tmp_path):
    class OfANotebook(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(4, 2)

        def forward(self, inputs):
            return self.head(inputs)

    before = Classifier(OfANotebook(), NAMES, preprocess=lambda batch: batch * 2)
    before.save(tmp_path)
    assert "self.head = nn.Linear(4, 2)" in (tmp_path / "source.txt").read_text()
    with pytest.raises(ClassifierError, match=r"how a batch is prepared.*lambda.*Pass `preprocess=`"):
        Classifier.open(tmp_path)
    with pytest.raises(ClassifierError, match=r"Pass `factory=`, which makes one. Its text is in 'source.txt'"):
        Classifier.open(tmp_path, preprocess=before.preprocess)
    after = Classifier.open(tmp_path, factory=OfANotebook, preprocess=before.preprocess)
    assert same(before, after)


def test_functions_of_others_are_followed_only_if_they_are_trusted(tmp_path):
    before = Classifier(Tied(), NAMES, preprocess=to_float, factory=Tied, arguments={"width": 4})
    before.save(tmp_path)
    with pytest.raises(
        UntrustedError, match=rf"'{__name__}:to_float' as its preprocess.*trust=\['{__name__.partition('.')[0]}'\]"
    ):
        Classifier.open(tmp_path)
    with pytest.raises(UntrustedError, match="as its factory"):
        Classifier.open(tmp_path, preprocess=to_float)
    after = Classifier.open(tmp_path, trust=__name__)
    assert (after.preprocess, after.factory, after.arguments) == (to_float, Tied, {"width": 4})


def test_opening_imports_no_module_that_a_file_names(tmp_path):
    Classifier(nn.Linear(4, 2), NAMES).save(tmp_path / "model")
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\nfrom torch.nn import Linear\n")
    file = tmp_path / "model" / "classifier.json"
    fields = json.loads(file.read_text())
    fields["build"]["class"] = "evil:Linear"
    file.write_text(json.dumps(fields))
    script = f"""
        from workbench import Classifier
        from workbench.errors import UntrustedError
        try:
            Classifier.open({str(tmp_path / "model")!r})
        except UntrustedError as error:
            print(error)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], env={"PYTHONPATH": f"{ROOT}:{tmp_path}"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "only if it is trusted" in done.stdout
    assert not (tmp_path / "ran").exists()


LINEAR = "torch.nn.modules.linear:Linear"


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"build": {"class": "os:system", "arguments": {"command": "true"}}}, UntrustedError, "trust="),
        ({"build": {"class": "workbench.classifier:os.system", "arguments": {}}}, RunFileError, "defines nothing"),
        ({"build": {"class": "workbench.storage:save", "arguments": {}}}, UntrustedError, "no network class"),
        ({"build": {"class": "workbench.storage:shutil", "arguments": {}}}, RunFileError, "defines nothing"),
        ({"build": {"class": "torch.nn:Linear", "arguments": {}}}, RunFileError, "defines nothing"),
        (
            {"build": {"class": LINEAR, "arguments": {"rows": 1}}},
            ClassifierError,
            "not be call",
        ),
        ({"build": {"class": LINEAR, "layers": []}}, RunFileError, "put into torch.nn.Seq"),
        (
            {"build": {"class": LINEAR}},
            RunFileError,
            "by a class and its arguments or layers",
        ),
        ({"build": {"class": "../evil:X", "arguments": {}}}, RunFileError, "must read 'package.module:name'"),
        ({"build": {"class": "workbench.nowhere:X", "arguments": {}}}, RunFileError, "cannot be imported"),
        ({"build": 3}, RunFileError, "'build' must be of type dict; got 3"),
        ({"preprocess": "workbench.storage:save"}, UntrustedError, "as its preprocess"),
        ({"preprocess": "workbench.classifier:os"}, RunFileError, "defines nothing"),
        ({"classes": "ab"}, RunFileError, "'classes' must be of type list; got 'ab'"),
        ({"classes": [1, 2]}, ClassifierError, "must be the names of the classes"),
        ({"format": 99}, RunFileError, "has format 99; this version of the library reads 1 to 1. Upgrade"),
        ({"format": 0}, RunFileError, "has format 0"),
        ({"format": "1"}, RunFileError, "'format' must be of type int; got '1'"),
    ],
)
def test_a_file_that_was_tampered_with_is_refused_in_words(changes, error, words, tmp_path):
    Classifier(nn.Linear(4, 2), NAMES).save(tmp_path)
    file = tmp_path / "classifier.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))
    with pytest.raises(error, match=words):
        Classifier.open(tmp_path)


def test_damaged_weights_are_refused_in_words(tmp_path):
    Classifier(nn.Linear(4, 2), NAMES).save(tmp_path)
    file = tmp_path / "weights.safetensors"
    whole = file.read_bytes()
    for content in (whole[:-1], whole[:20], b"", b"\xff" * 8 + whole[8:], b"\x80\x04" + whole[2:]):
        file.write_bytes(content)
        with pytest.raises(RunFileError, match=r"weights.safetensors' is damaged"):
            Classifier.open(tmp_path)
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(RunFileError, match="its weights are not those that were written"):
        Classifier.open(tmp_path)
    save_file({"weight": torch.zeros(2, 4)}, file)
    with pytest.raises(RunFileError, match="has format None"):
        Classifier.open(tmp_path)
    file.unlink()
    with pytest.raises(RunFileError, match=r"holds no 'weights.safetensors'"):
        Classifier.open(tmp_path)


def test_weights_outside_of_the_directory_are_not_followed(tmp_path):
    Classifier(nn.Linear(4, 2), NAMES).save(tmp_path / "model")
    file = tmp_path / "model" / "weights.safetensors"
    file.rename(tmp_path / "elsewhere.safetensors")
    file.symlink_to(tmp_path / "elsewhere.safetensors")
    with pytest.raises(RunFileError, match=r"cannot be trusted.*symbolic link"):
        Classifier.open(tmp_path / "model")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000])
def test_a_damaged_structure_is_refused_in_words(content, tmp_path):
    Classifier(nn.Linear(4, 2), NAMES).save(tmp_path)
    (tmp_path / "classifier.json").write_bytes(content)
    with pytest.raises(RunFileError, match=r"classifier.json' is damaged"):
        Classifier.open(tmp_path)
    with pytest.raises(RunFileError, match=r"holds no 'classifier.json'"):
        Classifier.open(tmp_path / "nowhere")


def test_layers_nested_without_end_are_refused():
    deep = describe(Classifier(nn.Linear(4, 2), NAMES))
    for _ in range(100):
        deep = {"class": "torch.nn.modules.container:Sequential", "layers": [["0", deep]]}
    with pytest.raises(RunFileError, match="is built by a class"):
        build(deep)
