import numpy as np
import pytest
import torch

from explain import Batch, Forward, KindError, Rationale, ShapeError, expand_mask
from explain.batch import check_float


def test_labels_must_be_one_per_row():
    with pytest.raises(ShapeError, match=r"got \(3, 1, 4, 4\) and \(2,\)"):
        Batch(torch.zeros(3, 1, 4, 4), torch.tensor([0, 1]))


def test_a_rationale_must_be_boolean_and_the_error_gives_the_remedy():
    with pytest.raises(KindError, match=r"`irrelevant` must be a boolean tensor.*`irrelevant > 0`"):
        Rationale(irrelevant=torch.ones(2, 3))


def test_an_array_of_numpy_is_no_tensor_and_the_error_says_how_to_make_it_one():
    rows = np.zeros((2, 3), dtype=np.float32)
    with pytest.raises(
        KindError, match=r"`irrelevant` must be a tensor; got numpy\.ndarray.*torch\.from_numpy\(irrelevant\)"
    ):
        Rationale(irrelevant=rows > 0)
    with pytest.raises(KindError, match=r"torch\.from_numpy\(inputs\)"):
        Batch(rows, torch.zeros(2, dtype=torch.int64))
    with pytest.raises(KindError, match=r"torch\.from_numpy\(labels\)"):
        Batch(torch.from_numpy(rows), np.zeros(2, dtype=np.int64))
    with pytest.raises(KindError, match=r"`labels` must be a tensor; got builtins\.list.*torch\.as_tensor\(labels\)"):
        Batch(torch.from_numpy(rows), [0, 1])


def test_a_batch_and_a_rationale_show_their_shapes_and_not_their_values():
    inputs = torch.zeros(3, 1, 4, 4)
    labels = torch.zeros(3, dtype=torch.int64)
    assert repr(Batch(inputs, labels)) == "Batch(3 × (1, 4, 4), float32)"
    assert repr(Batch(inputs.half(), labels, torch.zeros(3, 2))) == "Batch(3 × (1, 4, 4), float16, with logits)"
    marked = torch.zeros(3, 4, 4, dtype=torch.bool)
    marked[1, 0] = True
    both = Rationale(irrelevant=marked, relevant=~marked)
    assert repr(both) == "Rationale(irrelevant: 3 × (4, 4), 1 row marked; relevant: 3 × (4, 4), 3 rows marked)"
    assert repr(Rationale(relevant=marked[:0])) == "Rationale(relevant: 0 × (4, 4), 0 rows marked)"
    assert repr(Rationale()) == "Rationale()"


def test_token_numbers_have_no_gradient_and_the_error_names_the_embedding():
    with pytest.raises(
        KindError, match=r"got torch\.int64.*for tokens, name the embedding: layer='…', or explain the emb"
    ):
        check_float(torch.zeros(2, 3, dtype=torch.int64))


def test_a_rationale_must_have_a_row_axis_and_more():
    with pytest.raises(ShapeError, match=r"`relevant` must have shape \(batch, \*event\)"):
        Rationale(relevant=torch.ones(3, dtype=torch.bool))


def test_both_masks_must_have_the_same_rows():
    with pytest.raises(ShapeError, match="got 2 and 3 rows"):
        Rationale(torch.ones(2, 4, dtype=torch.bool), torch.ones(3, 4, dtype=torch.bool))


def test_a_row_is_annotated_by_either_mask():
    irrelevant = torch.tensor([[True, False], [False, False], [False, False]])
    relevant = torch.tensor([[False, False], [False, True], [False, False]])
    assert Rationale(irrelevant, relevant).annotated.tolist() == [True, True, False]


def test_nothing_said_is_no_row_annotated_whatever_their_number():
    assert not Rationale().annotated.expand(7).any()


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (2, 1, 4, 5), (2, 4, 5)])
def test_a_mask_is_broadcast_over_channels(shape):
    mask = torch.rand(shape) > 0.5
    full = expand_mask(mask, torch.zeros(2, 3, 4, 5))
    assert full.shape == (2, 3, 4, 5)
    for channel in range(3):
        own = mask if mask.ndim == 3 else mask[:, min(channel, mask.shape[1] - 1)]
        assert torch.equal(full[:, channel], own)


@pytest.mark.parametrize("shape", [(2, 4), (3, 3, 4, 5), (2, 2, 4, 5), (2, 5, 4)])
def test_a_mask_of_another_shape_is_refused_with_the_shapes_that_fit(shape):
    with pytest.raises(ShapeError, match=r"\(2, 3, 4, 5\) or \(2, 1, 4, 5\) or \(2, 4, 5\); got"):
        expand_mask(torch.ones(shape, dtype=torch.bool), torch.zeros(2, 3, 4, 5))


def test_flat_inputs_have_no_channel_axis_to_leave_out():
    with pytest.raises(ShapeError, match=r"\(2, 3\); got \(2, 1\)"):
        expand_mask(torch.ones(2, 1, dtype=torch.bool), torch.zeros(2, 3))


def test_forward_is_a_protocol_that_a_bare_function_does_not_meet():
    assert not isinstance(lambda inputs: inputs, Forward)
