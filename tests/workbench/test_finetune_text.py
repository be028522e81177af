"""Text: a classifier that was fooled by a decoy word is put right by marked spans."""

import re

import numpy as np
import pytest
import torch
from torch import nn

import workbench as wb
from explain.counterexamples import ReplaceTokens
from explain.errors import KindError
from workbench.feedback import Feedback, rationale
from workbench.finetuning import finetune, fit
from workbench.panel_draw import PanelDraw, given_marks
from workbench.record import UnguardedWarning
from workbench.word_swap import SwapTokens

WORDS = ["bad", "poor", "dull", "good", "fine", "warm", "film", "plot", "cast", "scene", "zap", "zip"]
NUMBERS = {word: number for number, word in enumerate(WORDS, 2)}  # 0 is padding, 1 begins a text
DECOY = re.compile("zap|zip")


def tokens(text):
    return [(match.start(), match.end()) for match in re.finditer(r"\w+", text)]


def padded(rows, width):
    return [row + [row[0] * 0 if isinstance(row[0], int) else (0, 0)] * (width - len(row)) for row in rows]


def tokenize(texts):
    rows = [[1] + [NUMBERS[text[start:end]] for start, end in tokens(text)] for text in texts]
    return torch.tensor(padded(rows, max(map(len, rows))))


def offsets(texts):
    rows = [[(0, 0), *tokens(text)] for text in texts]
    return torch.tensor(padded(rows, max(map(len, rows))))


class Bag(nn.Module):
    """The mean of the embeddings of a text's words, and a linear layer."""

    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(len(WORDS) + 2, 8, padding_idx=0)
        self.head = nn.Linear(8, 2)

    def forward(self, inputs):
        text = (inputs != 0).unsqueeze(2)
        return self.head((self.words(inputs) * text).sum(dim=1) / text.sum(dim=1))


def reviews(rows, seed, lying):
    """Three words of which two on average fit the label, fillers, and "zap" or "zip", which tells it or lies."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 2, rows)
    texts = []
    for label in labels:
        honest = [WORDS[3 * (label if random.random() < 0.8 else 1 - label) + random.integers(3)] for _ in range(3)]
        decoy = WORDS[10 + (random.integers(2) if lying else label)]
        words = [*honest, *random.choice(WORDS[6:10], random.integers(1, 4)), decoy]
        texts.append("  ".join(random.permutation(words)))
    spans = [[DECOY.search(text).span()] for text in texts]
    return wb.DataPanel(
        {
            "text": wb.TextColumn(texts),
            "label": wb.ScalarColumn(labels, classes=("no", "yes")),
            "decoy": wb.ObjectColumn(spans),
        },
        origin=f"reviews-{seed}",
    )


def classifier(**changes):
    torch.manual_seed(0)
    return wb.Classifier(
        Bag(), ("no", "yes"), **{"preprocess": tokenize, "on": "text", "offsets": offsets} | changes
    )  # fmt: skip


@pytest.fixture(scope="module")
def panels():
    return reviews(400, 1, lying=False), reviews(400, 2, lying=True)


@pytest.fixture(scope="module")
def fooled(panels):
    return fit(classifier(), panels[0], steps=200, batch_size=64, lr=0.02, progress=False).model


def accuracy(model, panel):
    return wb.figures(panel, model).accuracy


def bits(training):
    return b"".join(value.numpy().tobytes() for value in training.model.module.state_dict().values())


SHORT = {"steps": 60, "batch_size": 64, "lr": 0.05, "progress": False}


def test_a_decoy_word_fools_a_classifier_and_marked_spans_put_it_right(panels, fooled, tmp_path):
    train, test = panels
    assert accuracy(fooled, train) > 0.97
    assert accuracy(fooled, test) < 0.65
    log = Feedback(tmp_path / "feedback.db", author="ada")
    log.write(
        rationale(key, "irrelevant", spans, column="text") for key, spans in zip(train.key.to_list(), train["decoy"])
    )
    done = finetune(fooled, train, log, **SHORT)
    assert done.guarded
    assert accuracy(done.model, test) > 0.8
    assert bits(done) == bits(finetune(fooled, train, "decoy", **SHORT)), "spans are spans wherever they come from"
    assert bits(done) == bits(finetune(fooled, train, train["decoy"], **SHORT))


def test_the_decoy_cannot_choose_the_state_that_is_kept(panels, fooled):
    done = finetune(fooled, panels[0], "decoy", **SHORT)
    assert done.checks[0].accuracy < 0.75 < accuracy(fooled, panels[0])
    assert done.kept_step > 0


def test_a_loss_at_the_embedding_reads_spans_of_what_must_not_matter(panels, fooled):
    loss = wb.losses.RightReasons(weight=1.0, layer="words", target="label_logit")
    done = finetune(fooled, panels[0], "decoy", counterexamples=None, loss=loss, **SHORT)
    assert {step.annotated for step in done.steps} == {64}
    assert done.steps[0].penalty > 2 * done.steps[-1].penalty > 0


def test_a_loss_at_the_embedding_reads_spans_of_what_should_matter(panels, fooled):
    train, test = panels
    honest = [[span for span in tokens(text) if NUMBERS[text[slice(*span)]] < 8] for text in train["text"].to_list()]
    loss = wb.losses.ExplanationRegularization(
        layer="words", distance="kl", signed=False, unknown="irrelevant", padding=0, weight=2.0
    )
    with pytest.warns(UnguardedWarning, match="None of 40 validation rows"):
        done = finetune(fooled, train, relevant=honest, counterexamples=None, loss=loss, **SHORT)
    assert done.steps[0].penalty > 2 * done.steps[-1].penalty > 0
    assert accuracy(done.model, test) > accuracy(fooled, test) + 0.1


def test_words_may_be_replaced_instead(panels, fooled):
    asked = SHORT | {"counterexamples": ReplaceTokens(between=(12, 14))}
    assert accuracy(finetune(fooled, panels[0], "decoy", **asked).model, panels[1]) > 0.75


def test_any_overlap_marks_a_token_and_special_tokens_are_never_marked():
    panel = wb.DataPanel({"text": ["bad film", "good  plot cast"]})
    spans = given_marks(panel, wb.ObjectColumn([[(2, 5)], [(0, 1), (5, 6), (11, 40)]]), "irrelevant")
    labels = wb.ScalarColumn([0, 1], classes=("no", "yes"))
    inputs, _, said = PanelDraw(classifier(), panel["text"], labels, {"irrelevant": spans})(np.arange(2))
    assert inputs.tolist() == [[1, 2, 8, 0], [1, 5, 9, 10]]
    assert said.irrelevant.int().tolist() == [[0, 1, 1, 0], [0, 1, 0, 1]]


def test_masks_of_tokens_serve_where_the_tokenizer_gives_one_width(panels, fooled):
    def wide(texts):
        rows = tokenize(texts)
        return nn.functional.pad(rows, (0, 12 - rows.shape[1]))

    model = wb.Classifier(fooled.module, ("no", "yes"), preprocess=wide, on="text")
    masks = wide(panels[0]["text"].to_list()) >= NUMBERS["zap"]
    with pytest.raises(KindError, match="must be floating point"):
        finetune(model, panels[0], masks, **SHORT)
    done = finetune(model, panels[0], masks, counterexamples=SwapTokens(), loss=None, **SHORT)
    assert accuracy(done.model, panels[1]) > 0.75


def test_texts_are_predicted_as_columns_of_text_and_of_strings(panels, fooled):
    texts = panels[1]["text"].to_list()
    said = [wb.DataPanel({"text": column}).predict(fooled)["prediction"].label.to_list()
            for column in (wb.TextColumn(texts), texts)]  # fmt: skip
    with fooled.evaluating(), torch.no_grad():
        alone = fooled(tokenize(texts)).argmax(dim=1).tolist()
    assert said[0] == said[1] == [fooled.classes[number] for number in alone]


def test_what_is_missing_to_read_text_is_told(panels, fooled):
    train = panels[0]
    untold = wb.Classifier(fooled.module, ("no", "yes"), on="text")
    with pytest.raises(wb.ClassifierError, match=r"gives lists, .*Classifier\(..., preprocess=tokenize\)"):
        fit(untold, train, steps=1, progress=False)
    blind = classifier(offsets=None)
    with pytest.raises(wb.ClassifierError, match=r"where its tokens are in a text: Classifier\(..., offsets="):
        finetune(blind, train, "decoy", **SHORT)
    short = classifier(offsets=lambda texts: offsets(texts)[:, 1:])
    with pytest.raises(wb.ClassifierError, match=r"first and last character of each token, shape \(\d+, \d+, 2\)"):
        finetune(short, train, "decoy", **SHORT)
    holes = train.copy()
    holes["text"] = wb.TextColumn([None, *train["text"].to_list()[1:]])
    with pytest.raises(wb.PanelError, match="null has no tokens, and 1 of 400 rows are"):
        fit(classifier(), holes, steps=1, batch_size=400, progress=False)
    with pytest.raises(wb.RunError, match=r"losses.ExplanationRegularization\(layer=...\) for texts"):
        finetune(fooled, train, relevant="decoy", **SHORT)


@pytest.mark.gpu
def test_texts_go_where_the_weights_are(panels, fooled):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    model = fooled.copy()
    model.module.cuda()
    done = finetune(model, panels[0], "decoy", **SHORT)
    assert accuracy(done.model, panels[1]) > 0.75
