"""The rationale benchmark, small: it runs, keeps what it measured, chooses on refilled rows, and prints a table."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.rationales import __main__ as table_command
from benchmarks.rationales import short, typology
from benchmarks.rationales.methods import METHODS, SCHEDULES
from benchmarks.rationales.results import Results
from benchmarks.rationales.runs import cost, fitted, judge, settings_of, step_cost
from benchmarks.rationales.table import as_markdown, cell
from benchmarks.rationales.tasks import TASKS, task
from benchmarks.rationales.tuning import choose, score


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    return task("decoy-digits", 0, tmp_path_factory.mktemp("nothing"))


@pytest.mark.parametrize("method", [name for name, method in METHODS.items() if "mlp" in method.nets])
def test_every_method_trains_a_perceptron_and_is_judged(digits, method):
    some = digits.train.take(np.arange(600))
    model = fitted("decoy-digits", "mlp", method, METHODS[method].start, digits, some, seed=0, epochs=2)
    found = judge(model, digits, seed=0)
    assert all(0 <= value <= 1 for name, value in found.as_dict().items() if name != "wr")
    assert 0 <= found.wr <= 100


@pytest.mark.parametrize("method", ["rrr-g", "tap", "hint", "p-clarc", "rr-clarc", "r4", "cdep"])
def test_methods_for_convolutions_train_a_small_one(digits, method):
    some = digits.train.take(np.arange(300))
    model = fitted("decoy-digits", "cnn", method, METHODS[method].start, digits, some, seed=0, epochs=2)
    assert 0 <= judge(model, digits, seed=0).decoy_test <= 1


def test_a_second_run_measures_nothing_again_and_prints_the_same_table(tmp_path, capsys):
    asked = ["--data", "iris-cancer", "--net", "mlp", "--method", "plain", "--method", "ce-swap", "--seed", "0",
             "--epochs", "5", "--results", str(tmp_path)]  # fmt: skip
    assert table_command.main(asked) == 0
    first, kept = capsys.readouterr().out, (tmp_path / "rationales.json").read_text()
    assert table_command.main(asked) == 0
    assert (tmp_path / "rationales.json").read_text() == kept
    assert capsys.readouterr().out.split("Time:")[0] == first.split("Time:")[0]
    records = json.loads(kept)["records"]
    assert {record["method"] for record in records} == {"plain", "ce-swap"}
    named = {"data", "net", "method", "seed", "clean_test", "decoy_test", "worst_class", "wr", "mass_on_mask",
             "swap_sensitivity", "step_cost"}  # fmt: skip
    assert named <= set(records[0])
    assert "### iris-cancer, MLP 50-30" in first


def test_a_cell_of_other_settings_or_older_code_is_measured_again(tmp_path, capsys, monkeypatch):
    asked = ["--data", "iris-cancer", "--method", "plain", "--seed", "0", "--results", str(tmp_path)]

    def measured(*more):
        table_command.main([*asked, *more])
        return "iris-cancer mlp plain 0:" in capsys.readouterr().err

    assert measured("--epochs", "5")
    assert not measured("--epochs", "5")
    assert measured("--epochs", "6")
    monkeypatch.setattr(table_command, "JUDGED", table_command.JUDGED + 1)
    table_command.main([*asked, "--epochs", "6", "--table"])
    assert "1 cells are missing, or of other settings or older code" in capsys.readouterr().err
    assert measured("--epochs", "6")
    monkeypatch.setitem(table_command.SCHEDULES, ("iris-cancer", "mlp"), (60, 0.5))
    table_command.main([*asked, "--epochs", "6", "--table"])
    assert "1 cells are missing, or of other settings or older code" in capsys.readouterr().err


def test_a_trial_of_other_epochs_replaces_nothing_and_is_shown_apart(tmp_path, capsys):
    asked = ["--data", "iris-cancer", "--method", "plain", "--seed", "0", "--results", str(tmp_path)]
    table_command.main([*asked, "--epochs", "5"])
    table_command.main([*asked, "--epochs", "6"])
    records = list(table_command.results_kept(tmp_path))
    assert [record["epochs"] for record in records] == [5, 6]
    assert table_command.of_the_table(records) == []
    assert table_command.of_the_table(records, 6) == records[1:]


def test_every_cell_of_the_table_makes_sense():
    cells = list(table_command.cells())
    assert len({tuple(cell.values()) for cell in cells}) == len(cells)
    assert {cell["data"] for cell in cells} == set(TASKS)
    assert not any(cell["method"] == "rrr-g" and cell["net"] == "mlp" for cell in cells)
    assert not any(cell["method"] == "ce-grey long" and cell["data"] == "iris-cancer" for cell in cells)
    assert max(cell["seed"] for cell in cells if METHODS[cell["method"]].tier == 3) == 2


def test_a_step_with_a_penalty_costs_more_than_a_plain_one(digits):
    settings = settings_of("decoy-digits", "cnn", "rrr", 0.02, digits, 1000, seed=0)
    assert step_cost(digits, "cnn", settings, repeats=3) > 1.3


def test_the_cost_of_a_method_is_that_of_its_own_steps(digits):
    settings = settings_of("decoy-digits", "cnn", "masktune", None, digits, 1000, seed=0)
    assert cost("masktune", digits, "cnn", settings) == 1
    assert 0.1 < cost("rr-clarc", digits, "cnn", settings) < 3


def test_settings_are_chosen_on_training_rows_whose_swatch_lies(digits, monkeypatch):
    held = digits.train.take(digits.held)
    refilled = held.refilled(100)
    changed = (refilled.inputs != held.inputs).flatten(1).any(dim=1).float().mean()
    assert changed > 0.8
    assert not set(digits.held) & set(digits.kept)
    short_of = {key: (1, rate) for key, (_, rate) in SCHEDULES.items()}
    monkeypatch.setattr("benchmarks.rationales.tuning.SCHEDULES", short_of)
    assert 0 <= score(replace(digits, kept=digits.kept[:300]), "mlp", "rrr", 0.2) <= 1


def test_where_all_is_forbidden_the_weight_is_chosen_that_lets_predictions_depend_on_it_least(tmp_path, monkeypatch):
    both = task("toy-both", 100, tmp_path)
    assert not both.answerable
    assert not (both.train.rationale.irrelevant & both.train.rationale.relevant).any()
    short_of = {key: (2, rate) for key, (_, rate) in SCHEDULES.items()}
    monkeypatch.setattr("benchmarks.rationales.tuning.SCHEDULES", short_of)
    lax, strict = (score(replace(both, kept=both.kept[:6000]), "mlp", "rrr-label", weight) for weight in (1e-6, 1e3))
    assert lax < 0.8 < strict


def test_the_choice_climbs_to_the_best_weight_and_prefers_the_larger_of_equals():
    best, scores = choose(0.1, 10.0, lambda weight: 0.9 - 0.05 * abs(math.log10(weight / 30)))
    assert best == 30
    assert len(scores) < 12
    assert choose(1.0, 10.0, lambda weight: 0.9 if weight <= 3 else math.nan)[0] == 3
    # Of 48 rows, one right or wrong decides nothing.
    assert choose(1.0, 10.0, lambda weight: (46 if weight < 0.05 else 45 if weight < 50 else 40) / 48, 48)[0] == 10
    assert choose(1.0, 3.0, lambda weight: -weight)[0] == min(choose(1.0, 3.0, lambda weight: -weight)[1])


def test_figures_are_means_with_deviations_and_unknown_ones_a_dash():
    assert cell([0.5, 0.7], 3) == ".600 ± .141"
    assert cell([1.0], 3) == "1.000"
    assert cell([2.0, 2.0], 2) == "2.00 ± 0.00"
    assert cell([float("nan")], 3) == "–"
    assert as_markdown([]) == ""


def test_two_writers_lose_nothing(tmp_path):
    one, two = (Results(tmp_path / "r.json", ("name",), "command") for _ in range(2))
    one.keep({"name": "a", "value": 1})
    two.keep({"name": "b", "value": 2})
    one.keep({"name": "a", "value": 3})
    assert [(r["name"], r["value"]) for r in two] == [("a", 3), ("b", 2)]
    assert two.find(name="c") is None


def test_half_a_mark_is_its_later_half_and_a_misplaced_one_a_box_that_no_swatch_touches(digits):
    mask = digits.train.rationale.irrelevant
    half, wrong = typology.halved(mask), typology.misplaced(mask)
    assert (half.flatten(1).sum(dim=1) == 8).all()
    assert (wrong.flatten(1).sum(dim=1) == 16).all()
    assert not (mask.any(dim=0) & wrong.any(dim=0)).any()
    for whole, lower, box in zip(mask[:50], half[:50], wrong[:50], strict=True):
        lines = whole.any(dim=1).nonzero().flatten().tolist()
        assert lower.any(dim=1).nonzero().flatten().tolist() == lines[2:]
        assert box.any(dim=1).nonzero().flatten().tolist() == ([26, 27] if lines[0] == 0 else [0, 1])
        assert box.any(dim=0).nonzero().flatten().tolist() == list(range(10, 18))
    said = typology.told(digits.train, "half", seed=0).rationale
    ink = digits.train.rationale.relevant
    assert ((ink.flatten(1).sum(dim=1) + 1) // 2 == said.relevant.flatten(1).sum(dim=1)).all()
    assert not (said.relevant & ~ink).any()


def test_few_masks_are_as_many_as_asked(digits):
    told = typology.told(digits.train, "masks-25", seed=0)
    assert int(told.rationale.annotated.sum()) == 25


def test_the_typology_prints_theirs_beside_ours():
    records = [{"protocol": "half", "method": "rrr", "seed": seed, "decoy_test": 0.98} for seed in range(3)]
    assert "| rrr | 98.0 ± 0.0 (98.5) |" in typology.as_markdown(records)


def test_the_short_fine_tune_is_looked_at_after_every_step(digits):
    some = replace(digits, train=digits.train.take(np.arange(512)))
    start = short.fooled(some, 0, net="cnn", epochs=2)
    found = short.measure(some, start, replace(short.RECIPES["default"], steps=3, batch_size=64))
    assert len(found["curve"]) == 3
    assert found["below_start"] <= 3
    assert "| default |" in short.as_markdown([{"recipe": "default", "seed": 0, **found}])


def test_the_figures_in_the_readme_are_means_of_the_records():
    records = table_command.of_the_table(table_command.results_kept())
    named = {"decoy MNIST": "decoy-mnist", "decoy Fashion-MNIST": "decoy-fashion",
             "toy colours, corners": "toy-corners", "toy colours, top": "toy-top"}  # fmt: skip
    text = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    head = "| accuracy where the shortcut lies | plain | RRR |"
    lines = text[text.index(head) :].split("\n\n")[0].splitlines()[2:]
    assert len(lines) == 6
    for line in lines:
        label, *figures = (part.strip() for part in line.strip("|").split("|"))
        (data,) = (value for name, value in named.items() if label.startswith(name))
        net = "cnn" if "CNN" in label else "mlp"

        def mean(method, figure, data=data, net=net):
            found = [r[figure] for r in records if (r["data"], r["net"], r["method"]) == (data, net, method)]
            return sum(found) / len(found)

        methods = {r["method"] for r in records if (r["data"], r["net"]) == (data, net)}
        best = max(mean(method, "decoy_test") for method in methods)
        expected = [
            mean("plain", "decoy_test"), mean("rrr", "decoy_test"), mean("rrr", "worst_class"),
            mean("ce-grey", "decoy_test"), best,
        ]  # fmt: skip
        assert [figure.split(",")[0] for figure in figures[:5]] == [cell([value], 3) for value in expected]
    both = [r["clean_test"] for r in records if (r["data"], r["method"]) == ("toy-both", "rrr")]
    told = f"{sum(both) / 5:.2f} ± {torch.tensor(both).std():.2f}".replace("0.", ".")
    assert told in text
    with_iris, without = (
        [r[figure] for r in records if (r["data"], r["method"]) == ("iris-cancer", "rrr")]
        for figure in ("clean_test", "decoy_test")
    )
    assert len(with_iris) == 5
    assert abs(sum(with_iris) - sum(without)) / 5 < 0.01
