"""SecondLearner: another set of weights W2 of the same supernet, kept in an objective's memory from step to step.

It starts as a copy of the supernet's own weights, again with every stage of the schedule (a stage may have a supernet
of another shape), and has the learning rate, momentum, weight decay and gradient clip of these, but momentum buffers of
its own. Its passes use the statistics of their batch and move none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from nni_wcnas.contracts import Parameters, SGDStep, Step
from nni_wcnas.functional.hypergradient import gradient, leaves

__all__ = ['SecondLearner']


class SecondLearner:
    """The weights W2 and their optimiser's state, in one search iteration.

    Parameters
    ----------
    step
        The iteration; only :meth:`train` changes its memory.

    Raises
    ------
    ValueError
        When the weight optimiser is not plain SGD.
    """

    def __init__(self, step: Step) -> None:
        self._memory, self._clip = step.memory, step.gradient_clip_val
        # The stage is part of the names: a number in a tensor would make the processor wait for a GPU.
        self._weight, self._buffer = (f'stage {step.moment.stage} {kind} ' for kind in ('weight', 'momentum'))
        known = self._remembered(self._weight)
        self.weights: Parameters = known or {name: value.detach() for name, value in step.learner.weights.items()}
        """W2, detached. As long as W2 has not learned in this stage these are W1's live tensors."""
        self.numbers: SGDStep = replace(step.learner.sgd_step(), buffers=self._remembered(self._buffer))
        """The numbers of W2's next optimiser step: W1's, with W2's momentum buffers."""

    def train(self, loss: Callable[[Parameters], Tensor]) -> Tensor:
        """Take one step of SGD on a loss of W2 and keep the result; return the loss, detached."""
        # Cloned: the first step of a stage starts at W1's own tensors, which it must not move.
        parameters = leaves({name: value.clone() for name, value in self.weights.items()})
        numbers = self.numbers
        optimizer = torch.optim.SGD(
            parameters.values(), numbers.lr, numbers.momentum, weight_decay=numbers.weight_decay
        )
        for name, buffer in numbers.buffers.items():
            optimizer.state[parameters[name]]['momentum_buffer'] = buffer.clone()
        value = loss(parameters)
        # The learning rate follows W1's schedule, so an optimiser is made anew for each step and given its buffers.
        for name, slope in gradient(value, parameters).items():
            parameters[name].grad = slope
        if self._clip is not None:
            torch.nn.utils.clip_grad_norm_(parameters.values(), self._clip)
        optimizer.step()
        self._remember(optimizer, parameters)
        return value.detach()

    def _remember(self, optimizer: torch.optim.SGD, parameters: Parameters) -> None:
        """Keep W2 and its buffers; they replace all of the memory, also that of an earlier stage."""
        self._memory.clear()
        for name, parameter in parameters.items():
            self._memory[self._weight + name] = parameter.detach()
            buffer = optimizer.state[parameter].get('momentum_buffer')
            if buffer is not None:
                self._memory[self._buffer + name] = buffer

    def _remembered(self, prefix: str) -> Parameters:
        return {name.removeprefix(prefix): value for name, value in self._memory.items() if name.startswith(prefix)}
