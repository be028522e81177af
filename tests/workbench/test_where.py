"""`where`: the language of conditions, and all that is not in it."""

import numpy as np
import pytest

import workbench as wb
from columns import KindError


@pytest.fixture
def panel():
    return wb.DataPanel(
        {
            "age": [10, 20, 30, 40],
            "name": ["a", "b", None, "d"],
            "odd name!": [1.5, 2.5, 3.5, 4.5],
            "label": wb.ScalarColumn(["cat", "dog", "cat", "dog"], classes=["cat", "dog"]),
            "prediction": wb.PredictionColumn(
                np.array([[0.9, 0.1], [0.6, 0.4], [0.3, 0.7], [0.2, 0.8]]), ["cat", "dog"], "probabilities"
            ),
        }
    )


@pytest.mark.parametrize(
    ("text", "ages"),
    [
        ("age > 15 and age <= 30", [20, 30]),
        ("15 < age < 35", [20, 30]),
        ("not age > 15", [10]),
        ("age in [10, 40]", [10, 40]),
        ("age not in (10, 40)", [20, 30]),
        ("name is None", [30]),
        ("name is not None and name != 'a'", [20, 40]),
        ("`odd name!` * 2 > 6", [30, 40]),
        ("age % 20 == 0", [20, 40]),
        ("abs(age - 25) < 6", [20, 30]),
        ("-age < -25", [30, 40]),
        ("label != prediction", [20, 30]),
        ("prediction == 'cat'", [10, 20]),
        ("confidence < 0.75 and label == 'cat'", [30]),
        ("prediction.probability('dog') >= 0.8", [40]),
        ("label.codes() == 1", [20, 40]),
        ("name.isin(['a', 'd'])", [10, 40]),
        ("True", [10, 20, 30, 40]),
    ],
)
def test_a_condition_means_what_it_says(panel, text, ages):
    assert panel.where(text)["age"].to_list() == ages


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        "age.__class__",
        "age.map(print)",
        "[x for x in age]",
        "(lambda: 1)()",
        "age[0] > 1",
        "f'{age}'",
        "age if age else 1",
        "open('x')",
        "age := 3",
        "age >",
        "9 ** 9 ** 9 ** 9 == age",
        "x" * 10 + "(" * 5000,
    ],
)
def test_what_is_no_condition_is_refused(panel, text):
    with pytest.raises(wb.PanelError):
        panel.where(text)


def test_a_condition_that_is_not_yes_or_no_is_refused(panel):
    with pytest.raises(wb.PanelError, match="yes or no"):
        panel.where("age + 1")


def test_names_and_codes_are_not_compared(panel):
    with pytest.raises(KindError, match="cannot be compared"):
        panel.where("label == 1")
    with pytest.raises(KindError, match="class name"):
        panel.where("prediction == 1")


def test_an_unknown_name_is_told_with_the_nearest(panel):
    with pytest.raises(wb.NoColumnError, match="did you mean 'label'"):
        panel.where("lable == 'cat'")


def test_a_property_of_two_predictions_is_ambiguous(panel):
    panel["second"] = panel["prediction"]
    with pytest.raises(wb.PanelError, match="prediction or second"):
        panel.where("confidence < 0.5")
    assert len(panel.where("second.confidence > 0.75")) == 2


def test_only_the_columns_named_are_computed(panel):
    def never(value):
        raise AssertionError("computed")

    panel["other"] = panel["age"].map(never, to="scalar")
    assert len(panel.where("age > 15")) == 3
