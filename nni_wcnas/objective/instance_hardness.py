"""InstanceHardness: the architecture minimises the loss on validation examples drawn by their running hardness.

Each validation example has a hardness that is kept over the search, by its index. From each batch a share is drawn
without replacement, with p proportional to exp(T hardness / mean hardness); the architecture minimises the mean loss of
these, and their hardness is brought up to date:

    exp3      hardness += loss / p
    ucb       hardness = mean loss + 1e-3 mean sqrt(2 ln episode) / sqrt(times drawn)
    thompson  hardness ~ Beta(a, b), a and b grow by how often the prediction flipped or did not

An episode is an epoch that trains the architecture. At its start all that was added up shrinks by 0.9; T falls from 20
by 0.8 to 1, the share from 1 by 0.9 to ``share``.

Acts on every ``every``-th batch. Costs what :class:`~nni_wcnas.objective.AverageCase` costs; waits for a GPU once a
batch. Deviations: DIHCL draws
training examples from the whole set, this validation examples from each batch, as the WCNAS paper adapts it; p is that
of the batch; an episode is an epoch. ``exp3`` divides by the p of one draw where many are drawn at once, as DIHCL does:
with small batches its hardness follows who was drawn against the odds, where ``ucb``'s follows the losses.

References
----------
Zhou, Wang, Bilmes, "Curriculum Learning by Dynamic Instance Hardness", NeurIPS 2020, algorithm 1; tianyizhou/DIHCL
6b80445; papers/wcnas, section 4.1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from nni_wcnas.contracts import ArchitectureUpdate, Moment, Objective, Parameters, Step
from nni_wcnas.errors import InvalidArgument
from nni_wcnas.functional.bandits import drawn, optimistic, probabilities
from nni_wcnas.objective.weighted import weighted_step

__all__ = ['InstanceHardness']

Bandit = Literal['exp3', 'ucb', 'thompson']
# DIHCL's constants: what is remembered shrinks by 0.9 an episode, the temperature by 0.8 from 20.
_SHRINK, _COOL, _HOTTEST = 0.9, 0.8, 20.0


@dataclass(frozen=True)
class InstanceHardness(Objective):
    """Minimise the loss on validation examples that keep being hard.

    Parameters
    ----------
    bandit
        How hardness is learned.
    share
        Share of a batch that is drawn in late epochs.
    every
        Update the architecture on every ``every``-th batch.

    Raises
    ------
    ValueError
        On an unknown bandit, or a number out of range.
    """

    bandit: Bandit = 'exp3'
    share: float = 0.3
    every: int = 1

    def __post_init__(self) -> None:
        if self.bandit not in get_args(Bandit):
            raise InvalidArgument('bandit', self.bandit, f"be one of {', '.join(get_args(Bandit))}")
        if not 0 < self.share <= 1:
            raise InvalidArgument('share', self.share, 'be above 0 and at most 1')
        if self.every < 1:
            raise InvalidArgument('every', self.every, 'be at least 1 batch')

    def temperature(self, episode: int) -> float:
        """Return the temperature T of an episode, counted from 0."""
        return max(1.0, _HOTTEST * _COOL**episode)

    def drawn_share(self, episode: int) -> float:
        """Return the share of a batch that is drawn in an episode, counted from 0."""
        return max(self.share, _SHRINK**episode)

    def architecture_step(self, step: Step) -> ArchitectureUpdate:
        """Return dA of the mean loss of the drawn examples, whose hardness is brought up to date.

        Raises
        ------
        ValueError
            When the examples have no indices.
        """
        if step.val.indices is None:
            raise ValueError(
                'InstanceHardness keeps the hardness of each validation example by its index, and this evaluator gives '
                'none: use SearchEvaluator with one of the data modules of nni_wcnas.data'
            )
        indices, episode = step.val.indices, _episode(step.moment)
        memory = _Memory(step.memory, indices, episode)

        def weigh(losses: Tensor, logits: Tensor) -> Tensor:
            # p of shape (N,) is a distribution over this batch, by the hardness known so far.
            p = probabilities(self._hardness(memory, episode).to(losses), self.temperature(episode))
            # Ones for the drawn examples, zeros for the others; at least one is drawn, so that the mean loss exists.
            chosen = drawn(p, max(1, math.ceil(self.drawn_share(episode) * len(p))))
            # Only the drawn examples learn: the losses of the others are known here, but a bandit sees what it plays.
            right = (logits.argmax(1) == step.val.labels).to(losses)
            self._learn(memory, chosen, losses, right, p)
            return chosen

        return weighted_step(step, weigh)

    def _hardness(self, memory: _Memory, episode: int) -> Tensor:
        """Return the hardness of the examples of the batch, not negative, shape ``(N,)``."""
        if self.bandit == 'thompson':
            # Beta(2, 2) is the prior. Sampled on the processor, so that the draw is the same whatever the device.
            beta = torch.distributions.Beta(2 + memory.get('flips').cpu(), 2 + memory.get('stays').cpu())
            return beta.sample().to(memory.indices.device)
        if self.bandit == 'ucb':
            count = memory.get('count')
            # An example that was never drawn has sum 0: a count of 1 gives it mean 0 and
            # the full bonus, where 0 would give NaN.
            count = torch.where(count > 0, count, 1.0)
            return optimistic(memory.get('sum') / count, count, episode + 1)
        return memory.get('sum')

    def _learn(self, memory: _Memory, chosen: Tensor, losses: Tensor, right: Tensor, p: Tensor) -> None:
        """Bring the hardness of the drawn examples up to date.

        Parameters
        ----------
        memory
            What is known of the examples of the batch.
        chosen
            Ones for the drawn examples, shape ``(N,)``.
        losses, right
            Their losses, and ones for correct predictions, shape ``(N,)``.
        p
            Probability of each example in the draw, shape ``(N,)``.
        """
        if self.bandit == 'thompson':
            # A flip needs an earlier prediction: the first one of an example counts neither as a flip nor as a stay.
            known = memory.get('count') > 0
            flipped = (right != memory.get('right')).to(losses) * known
            memory.add('flips', chosen * flipped)
            memory.add('stays', chosen * known * (1 - flipped))
            memory.put('right', torch.where(chosen > 0, right, memory.get('right').to(right)))
        else:
            # exp3 divides by p, which makes the sum an unbiased estimate where one
            # example is drawn; ucb keeps the plain sum.
            memory.add('sum', chosen * (losses / (p + 1e-8) if self.bandit == 'exp3' else losses))
        # Last, as `known` above asks whether the example was drawn before this batch.
        memory.add('count', chosen)


def _episode(moment: Moment) -> int:
    """Return the number of epochs that have trained the architecture so far."""
    return max(0, moment.age - moment.warmup)


class _Memory:
    """What is known of the examples of a batch, in tensors of one number for each example of the training set."""

    def __init__(self, tensors: Parameters, indices: Tensor, episode: int) -> None:
        self.tensors, self.indices = tensors, indices
        # The first batch of a new episode shrinks all sums, of every example. 'right'
        # is a fact of the last draw and is kept.
        before = int(tensors.get('episode', torch.tensor(episode)))
        tensors['episode'] = torch.tensor(episode)
        if episode != before:
            for name in ('sum', 'count', 'flips', 'stays'):
                if name in tensors:
                    tensors[name] = tensors[name] * _SHRINK

    def get(self, name: str) -> Tensor:
        """Return the numbers of the examples of the batch, shape ``(N,)``; 0 for those not met before."""
        return self._whole(name)[self.indices]

    def put(self, name: str, values: Tensor) -> None:
        """Set the numbers of the examples of the batch."""
        whole = self._whole(name)
        self.tensors[name] = whole.index_copy(0, self.indices, values.to(whole))

    def add(self, name: str, values: Tensor) -> None:
        """Add to the numbers of the examples of the batch."""
        self.put(name, self.get(name) + values)

    def _whole(self, name: str) -> Tensor:
        """Return the tensor of a name, padded with zeros up to the largest index of the batch."""
        # The size of the training set is not known here, so tensors grow with the largest index that was seen.
        size = int(self.indices.max()) + 1
        known = self.tensors.get(name, torch.zeros(0, device=self.indices.device))
        return torch.nn.functional.pad(known, (0, max(0, size - len(known))))
