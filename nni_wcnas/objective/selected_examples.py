"""SelectedExamples: the architecture minimises the loss on generated examples that are selected to make it fail.

A pre-trained generator, which learns no more, stands for M pairs of an image and a label. Each has a selection variable
s in [0, 1], which ascends what the architecture descends::

    min_A max_s  sum_i s_i l(W', A, image_i, label_i) / sum_i s_i  +  gamma L(W', A, D_val)
    dA     of (M / n) sum over the block of s_i l_i / sum of all s, with dW'/dA as the hypergradient has it
    s_i <- s_i + lr_s (l_i - the weighted mean)      d/ds_i is this difference over sum s

Acts on every ``every``-th batch, on one block of n pairs, 64 or a few more, into which the M pairs are cut: an unbiased
estimate of the weighted loss. The weighted mean is a running one of the blocks. Costs what
:class:`~nni_wcnas.objective.AverageCase` costs with twice the batch, and one pass through the generator. Pairs are not
stored: the noise of a block is drawn again from the block's number.

How much is selected depends on how often a block comes: with the defaults, in 50 epochs of CIFAR-10, 1.6 times, and a
fifth of the pairs never. Fewer pairs, a smaller ``every`` or a larger ``selection_lr`` select more.

Deviations: a step of s is not divided by the sum of s, which falls as pairs are deselected; s stays at 0.001 or above;
it starts at 0.5, with room on both sides.

References
----------
papers/wcnas, equation 19 and section B.2.2 ("pretrain"; its lambda, the weight of real images, is our gamma, and M is
100 000).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from nni_wcnas.contracts import ArchitectureUpdate, Losses, Noise, Objective, Parameters, Step, Tester
from nni_wcnas.errors import InvalidArgument
from nni_wcnas.functional.random_state import untouched_random_state
from nni_wcnas.objective.descent import descent

__all__ = ['SelectedExamples']

# Pairs in a block, at least; the floor of s, which keeps its sum above 0; where s starts.
_BLOCK, _LEAST, _INITIAL = 64, 0.001, 0.5
_KEPT = 0.9
"""Share of the running sums behind the weighted mean that is kept from block to block."""
_SEED = 7919
"""Seed of the first block's noise; block k has this number plus k."""


@dataclass(frozen=True)
class SelectedExamples(Objective):
    """Minimise the loss on those of M generated examples on which it is large.

    Parameters
    ----------
    pairs
        M, at least 64.
    average_weight
        gamma: weight of the loss on real validation images. 0 drops the term, and its pass through the supernet.
    selection_lr
        Step size of the selection variables, per nat of the loss.
    every
        Update the architecture and the selection on every ``every``-th batch.

    Raises
    ------
    ValueError
        When a number is out of range.
    """

    pairs: int = 100_000
    average_weight: float = 1.0
    selection_lr: float = 0.5
    every: int = 8
    needs_tester = True
    needs_generator = True
    trains_generator = False

    def __post_init__(self) -> None:
        if self.pairs < _BLOCK:
            raise InvalidArgument('pairs', self.pairs, f'be at least {_BLOCK}, one block of them')
        for name in ('average_weight', 'selection_lr'):
            if not 0 <= getattr(self, name) < math.inf:
                raise InvalidArgument(name, getattr(self, name), 'be 0 or more and finite')
        if self.every < 1:
            raise InvalidArgument('every', self.every, 'be at least 1 batch')

    def architecture_step(self, step: Step) -> ArchitectureUpdate:
        """Return dA of the weighted loss, estimated on one block; the selection variables of the block learn."""
        blocks = self.pairs // _BLOCK
        block = int(torch.randint(blocks, ()))
        # Block k holds pairs M k / blocks to M (k + 1) / blocks: sizes differ by at most one, and no pair is left over.
        first, last = (self.pairs * (block + after) // blocks for after in (0, 1))
        noise = _noise(step, block, last - first)
        images = step.learner.renormalise(_images(step, noise))
        selection = step.memory.get('selection', torch.full((self.pairs,), _INITIAL, device=images.device))
        s = selection[first:last].to(images)
        shown: Losses = {}

        def objective(weights: Parameters, alphas: Parameters) -> Tensor:
            losses = F.cross_entropy(step.learner.logits(images, weights, alphas), noise.labels, reduction='none')
            # (M / n) sum_block s_i l_i / sum_all s, written with means; its
            # expectation over blocks is the weighted loss.
            worst = (s * losses).mean() / selection.mean()
            # d/ds_i of the weighted loss is (l_i - weighted mean) / sum s. The step leaves the factor 1 / sum s out.
            rise = losses.detach() - _level(step.memory, s, losses.detach())
            moved = (s + self.selection_lr * rise).clamp(_LEAST, 1).to(selection)
            # Set only after the loss has used `selection` and `s`: A plays against the selection as it was.
            step.memory['selection'] = torch.cat((selection[:first], moved, selection[last:]))
            shown['generated'] = worst.detach()
            if not self.average_weight:
                return worst
            average = step.learner.loss(step.val.images, step.val.labels, weights, alphas)
            shown['real'] = average.detach()
            return worst + self.average_weight * average

        alphas, loss, _ = descent(step, objective)
        return ArchitectureUpdate(alphas, {'A': loss, **shown})


def _level(memory: Parameters, s: Tensor, losses: Tensor) -> Tensor:
    """Return the running weighted mean of the losses, this block included.

    Parameters
    ----------
    memory
        Keeps the two sums, of shape ``(2,)``: of s l, and of s.
    s, losses
        Selection variables and losses of the block, shape ``(n,)``.
    """
    sums = torch.stack(((s * losses).sum(), s.sum()))
    memory['sums'] = _KEPT * memory.get('sums', torch.zeros_like(sums)) + sums
    return memory['sums'][0] / memory['sums'][1]


def _noise(step: Step, block: int, count: int) -> Noise:
    """Return the noise of a block, the same each time; the global random state goes on as if nothing had been drawn."""
    with untouched_random_state(_SEED + block):
        return _tester(step).noise(count)


@torch.no_grad()
def _images(step: Step, noise: Noise) -> Tensor:
    """Generate the images of a block in [-1, 1], as constants."""
    return _tester(step).generate(noise)


def _tester(step: Step) -> Tester:
    """Return the tester that stands for the pairs.

    Raises
    ------
    ValueError
        When the step has none.
    """
    if step.tester is None:
        raise ValueError('SelectedExamples needs a tester: give the search a SearchEvaluator(tester=FQGAN(...))')
    return step.tester
