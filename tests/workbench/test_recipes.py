import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from explain import input_gradient, mass_on_mask, swap_sensitivity
from workbench.classifier import Classifier
from workbench.datasets.decoys import add_swatch, digits_on_canvas
from workbench.datasets.idx import read_idx_split
from workbench.errors import RunError
from workbench.recipes import FINE_TUNE, RECIPES, recipe
from workbench.schedule import hold_out
from workbench.training import fine_tune_rows, train

DATA = Path(os.environ.get("WORKBENCH_DATA", Path(__file__).parents[3] / "shared" / "data"))


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Decoyed:
    """Images with a swatch, as tensors."""

    def __init__(self, images, labels, split):
        decoyed, masks = add_swatch(images, labels, split, seed=0)
        self.images, self.masks = torch.from_numpy(decoyed)[:, None], torch.from_numpy(masks)
        self.labels = torch.from_numpy(labels.astype(np.int64))

    def draw(self, rows):
        return self.images[rows].float() / 255, self.labels[rows], self.masks[rows]

    def figures(self, model):
        inputs, labels, masks = self.draw(slice(None))
        with model.evaluating(), torch.no_grad():
            accuracy = (model(inputs).argmax(dim=1) == labels).float().mean().item()
            mass = mass_on_mask(input_gradient(model, inputs).scores, masks).nanmean().item()
            return accuracy, mass, swap_sensitivity(model, inputs, masks, inputs)


def before_and_after(settings, training, source, test):
    kept, held = hold_out(source, settings.held_out, seed=0)
    start = Classifier(settings.build(seed=0), classes=tuple("0123456789"))
    plain = train(start, training.draw, kept, settings.plain, progress=False)
    tuned = train(plain.model, training.draw, kept, settings.fine_tune, validation=held, progress=False)
    assert tuned.guarded
    return test.figures(plain.model), test.figures(tuned.model)


@pytest.mark.long  # the demo, which every test run does, trains the same
def test_decoy_digits_fool_the_network_and_the_fine_tune_puts_it_right():
    digits = digits_on_canvas(seed=0)
    before, after = before_and_after(
        recipe("digits"),
        Decoyed(digits.train_images, digits.train_labels, "train"),
        digits.train_source,
        Decoyed(digits.test_images, digits.test_labels, "test"),
    )
    assert before[0] <= 0.60
    assert after[0] >= 0.93
    assert after[1] <= before[1] / 15
    assert after[2] <= 0.02 < before[2]


@pytest.mark.parametrize(
    ("data", "folder", "goal"), [("mnist", "mnist", 0.92), ("fashion-mnist", "fashion_mnist", 0.80)]
)
def test_a_tenth_of_the_steps_already_puts_the_papers_network_right(data, folder, goal):
    if not (DATA / folder).is_dir():
        pytest.skip(f"no {folder} in {DATA}; set WORKBENCH_DATA")
    images, labels = read_idx_split(DATA / folder, "train")
    whole = recipe(data)
    short = replace(whole, plain=replace(whole.plain, steps=300), fine_tune=replace(whole.fine_tune, steps=200))
    before, after = before_and_after(
        short,
        Decoyed(images, labels, "train"),
        np.arange(len(images)),
        Decoyed(*read_idx_split(DATA / folder, "test"), "test"),
    )
    assert before[0] <= 0.70
    assert after[0] >= goal
    assert after[1] <= before[1] / 5


def test_every_recipe_goes_by_its_name_and_another_gets_the_nearest():
    assert [settings.data for settings in RECIPES.values()] == list(RECIPES)
    with pytest.raises(RunError, match="No recipe for 'fashion'; did you mean 'fashion-mnist'"):
        recipe("fashion")


def test_building_leaves_the_global_generator_as_found():
    state = torch.get_rng_state()
    recipe("digits").build(seed=1)
    assert torch.equal(torch.get_rng_state(), state)


def test_both_ways_to_fine_tune_have_the_same_defaults():
    x, y = torch.rand(4, 3), torch.tensor([0, 1, 0, 1])
    start = Classifier(torch.nn.Linear(3, 2), classes=("even", "odd"))
    done = fine_tune_rows(start, lambda rows: (x[rows], y[rows], None), 4, steps=FINE_TUNE.steps, progress=False)
    assert done.settings == FINE_TUNE
