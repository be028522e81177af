'''The contract of a rationale loss, as tests: a new loss passes `LossTests` by supplying what differs.

A loss of one's own, and its tests, in full::

    @dataclass(frozen=True)
    class Blackout(RationaleLoss):
        """Keep the logits as they are where the marked region is black.

        References
        ----------
        .. [1] Where the formula is from.
        """

        passes: ClassVar[str] = "2 F"
        source: ClassVar[str] = "the example of explain.testing"

        def penalize(self, forward, batch, rationale):
            mask = expand_mask(rationale.irrelevant, batch.inputs)
            black = batch.inputs.masked_fill(mask, 0.0)
            return (forward(batch.inputs) - forward(black)).square().sum(dim=1)

    class TestBlackout(LossTests):
        loss = Blackout(weight=0.7)

        def by_the_paper(self, net, inputs, label, irrelevant, relevant):
            black = inputs.clone()
            black[:, irrelevant] = 0.0
            return ((net(inputs[None])[0] - net(black[None])[0]) ** 2).sum()

`RationaleLoss` is in `explain`, with `expand_mask`; `explain.losses.ask` gives inputs, logits and layers in one
graph, and shares the pass of the task loss. Masks arrive as they were given, with a channel axis or without:
`expand_mask` lays them on the inputs, `mask_on_layer` on a layer. `by_the_paper` is the formula for one row, slowly
and plainly, in float64, without the weight; its inputs have no batch axis, so that the net is asked by
``net(inputs[None])[0]``. The docstring of a loss has a section "References".
'''

from __future__ import annotations

import math
import warnings
from dataclasses import replace
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from .batch import Batch, Rationale
from .errors import UnbalancedWarning
from .losses.contract import RationaleLoss, WeightedSum
from .losses.reduce import balanced, mean_penalty
from .losses.sharing import shared_pass
from .testing_models import Begins, LossOfWeights, Noisy, Smooth

__all__ = ["LossTests", "Smooth"]

ROWS, SILENT = 6, 2


class LossTests:
    """What holds for every rationale loss.

    A subclass sets `loss`, with a weight that is a number other than one, and writes `by_the_paper`; it may
    replace the fixtures `net`, `batch` and `rationale` (six rows, of which the row `SILENT` has no mark), and
    say that the loss is `first_order` only (its weights' gradient is checked, not that gradient's own).
    """

    loss: ClassVar[RationaleLoss]
    first_order: ClassVar[bool] = False
    # Steps and learning rate within which the loss alone falls by a tenth.
    steps: ClassVar[int] = 60
    lr: ClassVar[float] = 0.02
    tolerance: ClassVar[float] = 1e-6

    def by_the_paper(
        self, net: nn.Module, inputs: Tensor, label: int, irrelevant: Tensor, relevant: Tensor
    ) -> float | Tensor:
        """Recompute the unweighted penalty of one row, slowly.

        Parameters
        ----------
        net : torch.nn.Module
            In evaluation mode, for batches: ``net(inputs[None])[0]`` are the logits of one row.
        inputs : Tensor, shape event
            One row, float64, without the batch axis.
        label : int
            Its class.
        irrelevant, relevant : Tensor, shape event without the channel axis, bool
            Its masks.

        Returns
        -------
        float or Tensor, shape ()
        """
        raise NotImplementedError("Write the formula of the paper here, for one row.")

    @pytest.fixture
    def net(self) -> nn.Module:
        torch.manual_seed(0)
        return Smooth().double()

    @pytest.fixture
    def batch(self) -> Batch:
        inputs = torch.rand(ROWS, 2, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        return Batch(inputs, torch.tensor([0, 1, 2, 0, 1, 2]))

    @pytest.fixture
    def rationale(self) -> Rationale:
        """Masks of both kinds, disjoint, on every row but one."""
        said = torch.rand(ROWS, 4, 4, generator=torch.Generator().manual_seed(2))
        irrelevant, relevant = said < 0.4, said > 0.7
        irrelevant[SILENT] = relevant[SILENT] = False
        return Rationale(irrelevant=irrelevant, relevant=relevant)

    def value(self, net: Any, batch: Batch, rationale: Rationale, loss: RationaleLoss | None = None) -> Tensor:
        """Call the loss with the generator that it may draw from seeded, so that it repeats."""
        torch.manual_seed(3)
        return (loss or self.loss)(net, batch, rationale)

    def test_it_says_what_it_needs_what_it_costs_and_where_it_is_from(self) -> None:
        name = type(self.loss).__name__
        assert self.loss.needs, f"`{name}.needs` must name a mask that it reads"
        assert set(self.loss.needs) <= {"irrelevant", "relevant"}, f"`{name}.needs` names masks that there are not"
        for field in ("passes", "source"):
            said = getattr(self.loss, field, "")
            assert said, f'say it on the class: `{field}: ClassVar[str] = "..."` in {name}; see RationaleLoss'
        assert "References" in str(type(self.loss).__doc__), f"the docstring of {name} must have a section References"
        assert self.loss.weight not in (0.0, 1.0), "a weight of one would hide a weight that is forgotten"

    def test_it_is_the_formula_of_the_paper(self, net: nn.Module, batch: Batch, rationale: Rationale) -> None:
        penalty = self.value(net, batch, rationale).detach()
        net.eval()
        assert isinstance(self.loss.weight, float)
        assert rationale.irrelevant is not None
        assert rationale.relevant is not None
        for row in range(len(batch)):
            if row == SILENT:
                continue
            expected = self.by_the_paper(
                net,
                batch.inputs[row].detach(),
                int(batch.labels[row]),
                rationale.irrelevant[row],
                rationale.relevant[row],
            )
            wanted = self.loss.weight * torch.as_tensor(expected, dtype=penalty.dtype).detach()
            torch.testing.assert_close(penalty[row], wanted, rtol=self.tolerance, atol=1e-9)
        assert (penalty > 0).any(), "a penalty that is zero everywhere proves nothing"

    def test_its_gradient_in_the_weights_is_right(self, net: nn.Module, batch: Batch, rationale: Rationale) -> None:
        holder = LossOfWeights(net, self.loss, batch, rationale)
        names = [name for name, weight in holder.named_parameters() if weight.requires_grad]
        values = [dict(holder.named_parameters())[name].detach().clone().requires_grad_() for name in names]

        def total(*changed: Tensor) -> Tensor:
            torch.manual_seed(3)
            result: Tensor = torch.func.functional_call(holder, dict(zip(names, changed, strict=True)), ())
            return result

        assert torch.autograd.gradcheck(total, values, fast_mode=True)
        if not self.first_order:
            assert torch.autograd.gradgradcheck(total, values, fast_mode=True)

    def test_the_penalty_alone_moves_the_weights_and_shrinks(
        self, net: nn.Module, batch: Batch, rationale: Rationale
    ) -> None:
        optimizer = torch.optim.Adam([w for w in net.parameters() if w.requires_grad], lr=self.lr)
        before = mean_penalty_seeded(self.loss, net, batch, rationale).item()
        for _ in range(self.steps):
            optimizer.zero_grad()
            torch.autograd.backward(mean_penalty_seeded(self.loss, net, batch, rationale))
            optimizer.step()
        after = mean_penalty_seeded(self.loss, net, batch, rationale).item()
        assert after < 0.9 * before

    def test_an_empty_rationale_adds_exactly_zero_and_no_gradient(
        self, net: nn.Module, batch: Batch, rationale: Rationale
    ) -> None:
        assert rationale.irrelevant is not None
        blank = torch.zeros_like(rationale.irrelevant)
        weights = [w for w in net.parameters() if w.requires_grad]
        for nothing in (Rationale(), Rationale(irrelevant=blank, relevant=blank)):
            task = nn.functional.cross_entropy(net(batch.inputs), batch.labels)
            expected = torch.autograd.grad(task, weights, retain_graph=True, allow_unused=True)
            total = task + mean_penalty_seeded(self.loss, net, batch, nothing)
            assert total.item() == task.item()
            found = torch.autograd.grad(total, weights, retain_graph=True, allow_unused=True)
            for one, other in zip(found, expected, strict=True):
                assert one is other is None or torch.equal(one, other)
            torch.autograd.backward(mean_penalty_seeded(self.loss, net, batch, nothing))

    def test_rows_without_a_rationale_change_nothing(self, net: nn.Module, batch: Batch, rationale: Rationale) -> None:
        penalty = self.value(net, batch, rationale)
        assert penalty[SILENT].item() == 0.0
        others = [row for row in range(len(batch)) if row != SILENT]
        changed = batch.inputs.detach().clone()
        changed[SILENT] = changed[SILENT] + 1 if changed.is_floating_point() else changed[0]
        again = self.value(net, Batch(changed, batch.labels), rationale)
        assert torch.equal(again[others], penalty[others])
        without = self.value(net, batch.take(torch.tensor(others)), rationale.take(torch.tensor(others)))
        torch.testing.assert_close(without, penalty[others])

    def test_half_a_batch_gives_the_same_values(self, net: nn.Module, batch: Batch, rationale: Rationale) -> None:
        whole = self.value(net, batch, rationale)
        half = torch.arange(len(batch) // 2)
        torch.testing.assert_close(self.value(net, batch.take(half), rationale.take(half)), whole[half])

    def test_the_model_is_left_as_found(self, net: nn.Module, batch: Batch, rationale: Rationale) -> None:
        noisy = Noisy(net, calls=10**9).double()
        before = _state(noisy)
        torch.autograd.backward(mean_penalty(self.on(noisy), noisy, batch, rationale))
        noisy.zero_grad()
        assert _state(noisy) == before
        assert batch.inputs.grad is None
        assert not batch.inputs.requires_grad

    def test_the_model_is_left_as_found_after_an_exception(
        self, net: nn.Module, batch: Batch, rationale: Rationale
    ) -> None:
        failures = 0
        for calls in range(3):
            noisy = Noisy(net, calls).double()
            before = _state(noisy)
            try:
                self.value(noisy, batch, rationale, self.on(noisy))
            except RuntimeError:
                failures += 1
            assert _state(noisy) == before
        assert failures, "the model was never run to its end"

    def on(self, model: nn.Module) -> RationaleLoss:
        """Return the loss for a net that is wrapped: its layers are called ``net.…`` there."""
        changes: dict[str, str | tuple[str, ...]] = {}
        for field in ("layer", "layers"):
            found = getattr(self.loss, field, None)
            if isinstance(found, str):
                changes[field] = f"net.{found}"
            elif found is not None:
                changes[field] = tuple(f"net.{name}" for name in found)
        return _replaced(self.loss, **changes)

    def test_without_gradients_it_still_gives_the_value(
        self, net: nn.Module, batch: Batch, rationale: Rationale
    ) -> None:
        expected = self.value(net, batch, rationale)
        with torch.no_grad():
            found = self.value(net, batch, rationale)
        assert not found.requires_grad
        torch.testing.assert_close(found, expected.detach())

    def test_a_pass_shared_with_the_task_loss_changes_nothing(
        self, net: nn.Module, batch: Batch, rationale: Rationale
    ) -> None:
        others = torch.tensor([row for row in range(len(batch)) if row != SILENT])
        batch, rationale = batch.take(others), rationale.take(others)
        weights = [w for w in net.parameters() if w.requires_grad]
        found = []
        for shares in (False, True):
            logits, run = shared_pass(net, batch, rationale, self.loss if shares else None)
            task = nn.functional.cross_entropy(logits, batch.labels)
            total = task + mean_penalty_seeded(self.loss, net, run, rationale)
            found.append(torch.autograd.grad(total, weights, allow_unused=True))
            assert (run.logits is not None) == (shares and self.loss.shares)
        for apart, together in zip(*found, strict=True):
            torch.testing.assert_close(together, apart)

    def test_a_model_that_begins_in_place_changes_no_input(
        self, net: nn.Module, batch: Batch, rationale: Rationale
    ) -> None:
        inputs = batch.inputs - 0.5 if batch.inputs.is_floating_point() else batch.inputs
        expected = self.value(Begins(net, inplace=False), Batch(inputs, batch.labels), rationale, self.on(net))
        batch = Batch(inputs.clone(), batch.labels)
        model = Begins(net, inplace=True)
        _, run = shared_pass(model, batch, rationale, self.on(net))
        torch.testing.assert_close(self.value(model, run, rationale, self.on(net)), expected)
        assert torch.equal(batch.inputs, inputs)

    def test_it_adds_up_and_scales(self, net: nn.Module, batch: Batch, rationale: Rationale) -> None:
        alone = self.value(net, batch, rationale).detach()
        torch.testing.assert_close(self.value(net, batch, rationale, 0.5 * self.loss).detach(), 0.5 * alone)
        both = WeightedSum(losses=(self.loss,)) * 2.0
        torch.testing.assert_close(self.value(net, batch, rationale, both).detach(), 2 * alone)

    def test_an_automatic_weight_makes_it_as_large_as_the_task_loss(
        self, net: nn.Module, batch: Batch, rationale: Rationale
    ) -> None:
        torch.manual_seed(3)
        with warnings.catch_warnings():
            # The nets of these tests are fresh, and nothing is trained.
            warnings.simplefilter("ignore", UnbalancedWarning)
            settled = balanced(_replaced(self.loss, weight="auto"), net, batch, rationale, task=1.5)
        assert mean_penalty_seeded(settled, net, batch, rationale).item() == pytest.approx(1.5, rel=1e-6)

    @pytest.mark.parametrize("weight", [-1.0, math.nan, math.inf, "automatic"])
    def test_a_weight_that_is_no_weight_is_refused(self, weight: Any) -> None:
        with pytest.raises(ValueError, match="finite and not negative"):
            _replaced(self.loss, weight=weight)


def mean_penalty_seeded(loss: RationaleLoss, net: nn.Module, batch: Batch, rationale: Rationale) -> Tensor:
    """Average a loss over its rows, with the generator that it may draw from seeded."""
    torch.manual_seed(3)
    return mean_penalty(loss, net, batch, rationale)


def _state(module: nn.Module) -> list[Any]:
    """Everything about a module that a loss must leave alone, as something that can be compared."""
    modes = [part.training for part in module.modules()]
    hooks = [
        len(part._forward_hooks) + len(part._forward_pre_hooks) + len(part._backward_hooks) for part in module.modules()
    ]
    buffers = [buffer.tolist() for buffer in module.buffers()]
    weights = [(weight.requires_grad, weight.grad is None, weight.tolist()) for weight in module.parameters()]
    return [modes, hooks, buffers, weights]


def _replaced(loss: RationaleLoss, **changes: Any) -> RationaleLoss:
    """Return a loss with some settings changed."""
    return replace(loss, **changes)
