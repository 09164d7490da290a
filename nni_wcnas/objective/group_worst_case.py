"""GroupWorstCase: the architecture minimises a mean of the groups' losses, in which bad groups weigh more and more.

Distributionally robust optimisation over groups, online: on every ``every``-th batch, for each group g in it with the
mean loss l_g of its examples,

    q_g  <- q_g exp(step_size l_g) for these g, then divided by their sum over all groups      exponentiated gradient
    A minimises  sum of q_g l_g over the groups in the batch

so that A plays against the mixture of groups that is worst for it, min_A max_q sum_g q_g l_g. Groups are the classes,
or what ``groups`` says of each training example. q starts even and is kept over the search, as logarithms, of which
none becomes zero: a group that was easy for long can come back.

Costs what :class:`~nni_wcnas.objective.AverageCase` costs; with given groups it waits for a GPU once a batch. Logged
beside A's loss: the mean loss of the batch and that of its worst group. Deviations: q is learned on the validation
examples, as A is; batches are drawn from all examples alike and not from all groups alike, so that a rare group's q
moves more rarely.

References
----------
Sagawa, Koh, Hashimoto, Liang, "Distributionally Robust Neural Networks for Group Shifts", ICLR 2020, algorithm 1;
kohpangwei/group_DRO, loss.py, whose step size is 0.01.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from nni_wcnas.contracts import ArchitectureUpdate, Losses, Objective, Parameters, Step
from nni_wcnas.errors import InvalidArgument
from nni_wcnas.objective.groups import read_groups
from nni_wcnas.objective.weighted import weighted_step

__all__ = ['GroupWorstCase']


@dataclass(frozen=True)
class GroupWorstCase(Objective):
    """Minimise the loss of the worst mixture of groups of validation examples.

    Parameters
    ----------
    step_size
        Step size of the exponentiated gradient on q, per nat of a group's loss.
    groups
        A file with one whole number for each example of the training set (``.npy``, or a text with one a line), or
        these numbers; None takes the classes.
    every
        Update architecture and q on every ``every``-th batch.

    Raises
    ------
    ValueError
        On a number out of range, or a file that is none of groups.
    """

    step_size: float = 0.01
    groups: str | Path | tuple[int, ...] | None = None
    every: int = 1

    def __post_init__(self) -> None:
        if not 0 < self.step_size < math.inf:
            raise InvalidArgument('step_size', self.step_size, 'be positive and finite')
        if self.every < 1:
            raise InvalidArgument('every', self.every, 'be at least 1 batch')
        if self.groups is not None:
            if not isinstance(self.groups, (str, Path)):
                object.__setattr__(self, 'groups', tuple(self.groups))  # A settings file holds a list.
            read_groups(self.groups)

    def check_examples(self, count: int) -> None:
        """Refuse given groups whose number is not that of the training examples.

        Parameters
        ----------
        count
            Number of training examples.

        Raises
        ------
        ValueError
            When the numbers differ; the message gives both.
        """
        if self.groups is not None and len(read_groups(self.groups)) != count:
            raise InvalidArgument(
                'groups', len(read_groups(self.groups)), f'be one number for each of the {count} training examples'
            )

    def architecture_step(self, step: Step) -> ArchitectureUpdate:
        """Return dA of sum over groups of q_g l_g, after q has moved on this batch.

        Raises
        ------
        ValueError
            When groups are given, and examples have no indices or more than there are groups.
        """
        rows = self._rows(step)
        shown: Losses = {}

        def weigh(losses: Tensor, logits: Tensor) -> Tensor:
            total = logits.shape[1] if self.groups is None else int(step.memory['groups'].max()) + 1
            # counts and of_group have shape (groups,): examples of each group in the batch, and l_g, 0 for an absent
            # group. The clamp keeps 0 / 0 out of the absent ones.
            counts = losses.new_zeros(total).index_add(0, rows, torch.ones_like(losses))
            of_group = losses.new_zeros(total).index_add(0, rows, losses) / counts.clamp(min=1)
            # q moves before A descends, as in algorithm 1 of Sagawa et al.
            q = self._learn(step.memory, of_group)
            shown['worst_group'] = of_group.max()
            # An example of group g weighs q_g / n_g, so that sum(v loss) = sum_g q_g l_g.
            return (q / counts.clamp(min=1))[rows]

        # Not divided by sum(v): the q_g of the groups in the batch need not add up to 1,
        # and a batch of easy groups counts less.
        update = weighted_step(step, weigh, is_mean=False)
        return update._replace(losses={**update.losses, **shown})

    def _learn(self, memory: Parameters, losses: Tensor) -> Tensor:
        """Move q by the groups' losses, shape ``(groups,)``, and return its new values; a loss of 0 leaves a group's
        share."""
        logarithms = memory.get('group_logarithms', torch.zeros_like(losses)).to(losses)
        # log q <- log_softmax(log q + step_size l): the multiplicative update and its normalisation in one, free of
        # overflow. All-zero logarithms are the even start, as log_softmax does not see a constant.
        memory['group_logarithms'] = (logarithms + self.step_size * losses).log_softmax(0)
        return memory['group_logarithms'].exp()

    def _rows(self, step: Step) -> Tensor:
        """Return the group of each example of the validation batch, shape ``(N,)``."""
        val = step.val
        if self.groups is None:
            return val.labels
        if val.indices is None:
            raise ValueError(
                'GroupWorstCase finds the group of a validation example by its index, and this evaluator gives none: '
                'use SearchEvaluator with one of the data modules of nni_wcnas.data, or leave groups out'
            )
        # Kept in the memory, so that the file is read and copied to the device once a search.
        if 'groups' not in step.memory:
            step.memory['groups'] = read_groups(self.groups).to(val.labels.device)
        known = step.memory['groups']
        if int(val.indices.max()) >= len(known):
            raise ValueError(
                f'groups has {len(known)} numbers, and there is a training example {int(val.indices.max())} (from 0); '
                'give one number for each'
            )
        return known[val.indices]
