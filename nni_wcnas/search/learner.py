"""The supernet as a pure function of its weights W and its architecture A."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any

import torch
from nni.nas.evaluator.pytorch import LightningModule
from torch import Tensor, nn

from nni_wcnas.contracts import Learner, Parameters, SGDStep
from nni_wcnas.functional.frozen import frozen_statistics
from nni_wcnas.functional.hypergradient import replayed
from nni_wcnas.functional.image_range import signed_to_unit
from nni_wcnas.functional.second_pass import quick_second_pass
from nni_wcnas.search.pixel_range import PixelRange

__all__ = ['SupernetLearner', 'require_plain_sgd']


class SupernetLearner(Learner):
    """A view of the supernet inside an evaluator's module, for one search iteration.

    Its losses are evaluated with running statistics untouched, unless told otherwise, and with the random numbers
    (dropout masks) that stood at its construction, so that perturbed evaluations differ by the perturbation alone.

    Parameters
    ----------
    training_module
        The evaluator's module; its ``model`` is the supernet, its ``criterion`` the loss.
    alphas
        Architecture parameters of the supernet by name.
    weights
        All of its other parameters by name.
    optimizer
        The weights' own optimiser, whose next step :meth:`sgd_step` describes.
    aliases
        Other names of a parameter in the supernet, each with the one in ``alphas`` or ``weights``.
    pixels
        How the learner's input is scaled; None takes the module's ``mean`` and ``std``.
    """

    def __init__(
        self,
        training_module: LightningModule,
        alphas: Parameters,
        weights: Parameters,
        optimizer: torch.optim.Optimizer,
        aliases: Mapping[str, str],
        pixels: PixelRange | None = None,
    ) -> None:
        self._module, self._alphas, self._weights, self._optimizer = training_module, alphas, weights, optimizer
        self._aliases, self._pixels = aliases, pixels
        # Fixes the random state of this moment for all passes of the iteration.
        self._evaluate: Callable[..., Tensor] = replayed(self._forward, training_module.device)

    @property
    def weights(self) -> Parameters:
        """W, the live parameters by name."""
        return self._weights

    @property
    def alphas(self) -> Parameters:
        """A, the live parameters by name."""
        return self._alphas

    def loss(
        self,
        images: Tensor,
        labels: Tensor,
        weights: Parameters | None = None,
        alphas: Parameters | None = None,
        *,
        moves_statistics: bool = False,
    ) -> Tensor:
        """Return the mean loss of images at given weights and architecture; None takes the live ones."""
        return self._criterion(self._evaluate(images, weights, alphas, moves_statistics), labels)

    def logits(self, images: Tensor, weights: Parameters | None = None, alphas: Parameters | None = None) -> Tensor:
        """Return scores of shape ``(N, classes)`` at given weights and architecture; None takes the live ones."""
        return self._evaluate(images, weights, alphas, False)

    def loss_and_features(
        self, images: Tensor, labels: Tensor, weights: Parameters | None = None, alphas: Parameters | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the mean loss and the penultimate features, shape ``(N, F)``.

        Raises
        ------
        ValueError
            When the space ends in no linear layer.
        """
        # A hook, as a space's forward pass returns logits alone.
        features: list[Tensor] = []
        hook = _classifier(self._module.model).register_forward_pre_hook(lambda _, inputs: features.append(inputs[0]))
        try:
            return self.loss(images, labels, weights, alphas), features[-1].flatten(1)
        finally:
            hook.remove()

    def renormalise(self, images: Tensor) -> Tensor:
        """Map images from [-1, 1] to the normalisation of the learner's input; differentiable."""
        if self._pixels is not None:
            return self._pixels.renormalise(images)
        # Buffers of SearchEvaluator's module, shape (1, 3, 1, 1): first to [0, 1], then to its normalisation.
        mean, std = self._module.get_buffer('mean'), self._module.get_buffer('std')
        return (signed_to_unit(images) - mean) / std

    def sgd_step(self) -> SGDStep:
        """Return the numbers of the weight optimiser's next step.

        Raises
        ------
        ValueError
            When the optimiser is not plain SGD with one parameter group: the look-ahead would not be the step it takes.
        """
        group = require_plain_sgd(self._optimizer)
        state = self._optimizer.state
        # Empty before the first step, when torch has made no buffers; the look-ahead counts a missing one as zero.
        buffers = {
            name: state[p]['momentum_buffer']
            for name, p in self._weights.items()
            if p in state and state[p].get('momentum_buffer') is not None
        }
        return SGDStep(group['lr'], group['momentum'], group['weight_decay'], buffers)

    def _forward(
        self, images: Tensor, weights: Parameters | None, alphas: Parameters | None, moves_statistics: bool
    ) -> Tensor:
        model = self._module.model
        # Under its own name and its aliases: all cells of a type must see the same given logits.
        values = {**(weights or self._weights), **(alphas or self._alphas)}
        values.update({alias: values[name] for alias, name in self._aliases.items()})
        # The passes may be differentiated twice, for which the layers have quick backward passes of their own.
        with nullcontext() if moves_statistics else frozen_statistics(model), quick_second_pass(model):
            # All names are given: torch need not look for tied ones, which takes longer than a small layer's pass.
            return torch.func.functional_call(model, values, (images,), tie_weights=False)

    @property
    def _criterion(self) -> nn.Module:
        criterion = getattr(self._module, 'criterion', None)
        if criterion is None:
            raise ValueError(
                f'The evaluator module {type(self._module).__name__} has no `criterion`, which unrolled and '
                f'worst-case searches need; '
                "use SearchEvaluator or one of NNI's evaluators"
            )
        return criterion


def require_plain_sgd(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Return the numbers of the one parameter group of plain SGD, whose next step can be written down.

    Raises
    ------
    ValueError
        When the optimiser is another one, or has several groups: the look-ahead would not be the step that it takes.
    """
    group = optimizer.param_groups[0]
    plain = (
        isinstance(optimizer, torch.optim.SGD)
        and not group['nesterov']
        and not group['dampening']
        and not group['maximize']
    )
    if not plain or len(optimizer.param_groups) != 1:
        raise ValueError(
            'An unrolled hypergradient needs the weights to be trained by plain torch.optim.SGD with one parameter '
            f'group, but this evaluator uses {type(optimizer).__name__}; use SearchEvaluator or '
            'optimizer=torch.optim.SGD, or search with hypergradient=FirstOrder(), which takes any optimiser'
        )
    return group


def _classifier(model: nn.Module) -> nn.Linear:
    """Return the last linear layer, whose input is the penultimate features.

    Raises
    ------
    ValueError
        When there is none.
    """
    layers = [module for module in model.modules() if isinstance(module, nn.Linear)]
    if not layers:
        raise ValueError(
            'The model space ends in no linear layer, so it has no penultimate features to decorrelate; set decov=0'
        )
    return layers[-1]
