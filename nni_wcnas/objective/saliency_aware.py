"""SaliencyAware: the architecture minimises the loss of a learner that was shown the salient parts of images, SANAS.

Two learners W1 and W2 share the architecture. W1 learns from the training images as all weights do; what changes W1's
own output most is salient; W2 learns from the images x multiplied by their saliency; A minimises the validation loss of
both::

    min_A  L(W2', A, D_val) + gamma L(W1', A, D_val)                                      equation 4
    W1' = W1 - lr grad L(W1, A, D_tr)                                                     equation 1
    d'  = d + xi grad_d O(d, W1', A),     O = sum KL(f(x; W1', A) || f(x + d; W1', A))    equation 2
    W2' = W2 - lr grad L2(W2, A, d'),     L2 = L(W2, A, x |d'| / max |d'|)                equation 3

On every ``every``-th batch, with momentum and weight decay in W1' and W2'::

    W1'; d by steps - 1 sign steps; d'; W2'                          equations 1-3, table 7
    a2, v2 <- backward of L(W2', A, D_val), in A and W2'             equation 7
    a1, v1 <- backward of gamma L(W1', A, D_val), in A and W1'       equation 5
    b, u   <- - lr (d2 L2 / d(A, d') dW2) . v2                       equations 13 and 11
    c, w   <- (d2 O / d(A, W1') dd) . (xi u)                         equations 17 and 15
    dA     <- a1 + a2 + b + c - lr (d2 L / dA dW1) . (v1 + w)        equations 5, 8, 9 and 19

On every ``saliency_every``-th batch, after W1's own step: d' of that batch with W1 as it is, then one step of SGD on
W2. With ``FirstOrder``, W1' = W1 and W2' = W2, and dA = a1 + a2.

Cost in forward passes through the supernet, with the published numbers and unrolled: 1 + 14/5 + 9/3 = 6.8 a batch, and
second backward passes through four of an update of A; 8 with finite differences, 4.4 with ``FirstOrder``. The memory of
W2 and its momentum. ``presets.sanas()`` is the paper's row.

Products are exact. Finite differences through a network of rectifiers count the kinks between their ends, those in d
most of all: on digits, in a supernet of 8 channels, c and w are some 20 times their exact size with the published
radius of 0.01, and twice with ``Unrolled(by='finite_difference', radius=1.0)``.

Deviations: the last of the ``steps`` gradients is equation 2's plain step, as sign steps (table 7) have no derivative;
the sign steps before it, constants to the gradient, stay within epsilon - step_size, and xi, which the paper does not
give, is chosen for each image so that its largest movement is step_size, and is a constant as well. d is found anew for
each batch, from a random start, and not kept for each image. Saliency is |d'| divided by its largest in the image,
where the equations multiply by d' itself, 30 times darker. d and saliency act on unaugmented pixels in [0, 1]. W2
starts as a copy of W1, again with every stage, and sees no smoothing. As everywhere here losses are means over the
batch and lookaheads are not clipped.

References
----------
papers/sanas_supplement, equations 1-19, algorithm 1, section A.4 for the frequencies, table 7 for the perturbation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from nni_wcnas.contracts import ArchitectureUpdate, Batch, Losses, Objective, Parameters, Step
from nni_wcnas.errors import InvalidArgument
from nni_wcnas.functional.hypergradient import (
    added,
    full_precision,
    gradient,
    gradients,
    leaves,
    scaled,
    sgd_step,
)
from nni_wcnas.functional.image_range import signed_to_unit, unit_to_signed
from nni_wcnas.functional.mixed_derivative import weights_held
from nni_wcnas.functional.saliency import Ascent, ascent, output_change, saliency
from nni_wcnas.objective.second_learner import SecondLearner

__all__ = ['SaliencyAware']

_PERTURBATION = 'perturbation of the pixels'
"""Key of d beside the parameter names of A and W1 in one dictionary; no parameter has a name with spaces."""


@dataclass(frozen=True)
class SaliencyAware(Objective):
    """Minimise the validation loss of a learner that was trained on what is salient to another.

    Parameters
    ----------
    trade_off
        gamma: weight of the validation loss of W1. 0 drops the term.
    epsilon
        Largest perturbation of a pixel, of [0, 1].
    step_size
        Largest movement of a pixel in one step of the perturbation.
    steps
        Number of gradient steps of the perturbation.
    every
        Update the architecture on every ``every``-th batch.
    saliency_every
        Perturb, and let W2 learn, on every ``saliency_every``-th batch.

    Raises
    ------
    ValueError
        When a number is out of range.
    """

    trade_off: float = 1.0
    epsilon: float = 8 / 255
    step_size: float = 2 / 255
    steps: int = 7
    every: int = 5
    saliency_every: int = 3

    def __post_init__(self) -> None:
        if not 0 <= self.trade_off < math.inf:
            raise InvalidArgument('trade_off', self.trade_off, 'be 0 or more and finite')
        if not 0 < self.epsilon < 1:
            raise InvalidArgument('epsilon', self.epsilon, 'be above 0 and below 1, as pixels are in [0, 1]')
        if not 0 < self.step_size < self.epsilon:
            raise InvalidArgument('step_size', self.step_size, f'be above 0 and below epsilon={self.epsilon}')
        if self.steps < 1:
            raise InvalidArgument('steps', self.steps, 'be at least 1')
        for name in ('every', 'saliency_every'):
            if getattr(self, name) < 1:
                raise InvalidArgument(name, getattr(self, name), 'be at least 1 batch')

    def architecture_step(self, step: Step) -> ArchitectureUpdate:
        """Return dA of the validation losses of W2' and W1'.

        Raises
        ------
        ValueError
            When the training images have no unaugmented copies.
        """
        if not step.hypergradient.unrolls:
            # First order: W1' = W1 and W2' = W2, so dA = a1 + a2 and no perturbation is needed here.
            second, first = _validate(step, SecondLearner(step).weights), self._first_term(step, step.learner.weights)
            return self._update(second, first, [])
        chain = _SaliencyChain(self, step)
        second, first = _validate(step, chain.second), self._first_term(step, chain.first)
        # `through` is b + c of the module's docstring, `vector` is w: what reaches W1' through d' alone.
        through, vector = chain.backward(second.weights)
        if first is not None:
            # W1' acts on the validation loss itself and through d'. Both meet in one
            # product: - lr (d2 L / dA dW1) . (v1 + w).
            vector = added([vector, scaled(first.weights, self.trade_off)])
        return self._update(second, first, [through, chain.ahead.indirect(vector)])

    def adversary_step(self, step: Step, *, update_generator: bool) -> Losses:
        """Let W2 take one step on the salient parts of the training batch, on every ``saliency_every``-th batch."""
        del update_generator  # Unused: W2 has a rhythm of its own.
        if step.index % self.saliency_every:
            return {}
        # W1 has taken its step on this batch already; A is a constant to W2.
        learner, pixels = step.learner, _pixels(step.train)
        alphas = _detached(learner.alphas)
        # As in the architecture's step: the divergence of nearly equal outputs is of second order in a small d.
        with full_precision(pixels.device):
            found = self.perturb(step, pixels, _detached(learner.weights), alphas)
        images = _salient(step, pixels, found.end)
        loss = SecondLearner(step).train(lambda weights: learner.loss(images, step.train.labels, weights, alphas))
        return {'W2': loss, 'change': found.change / len(pixels)}

    def perturb(self, step: Step, pixels: Tensor, weights: Parameters, alphas: Parameters) -> Ascent:
        """Return the perturbation of pixels that changes the output of a learner most.

        Parameters
        ----------
        step
            The search iteration.
        pixels
            Unaugmented images in [0, 1], shape ``(N, 3, H, W)``.
        weights, alphas
            The learner, detached.
        """
        with torch.no_grad():
            clean = _logits(step, pixels, weights, alphas)
        return ascent(
            lambda perturbation: output_change(_logits(step, pixels + perturbation, weights, alphas), clean),
            pixels,
            epsilon=self.epsilon,
            step_size=self.step_size,
            steps=self.steps,
        )

    def _first_term(self, step: Step, weights: Parameters) -> _Validation | None:
        """Return the validation loss of W1' and its gradients; None where gamma is 0."""
        return _validate(step, weights) if self.trade_off else None

    def _update(
        self, second: _Validation, first: _Validation | None, indirect: list[Parameters]
    ) -> ArchitectureUpdate:
        """Return the sum of all parts of dA, with the losses by name."""
        if first is None:
            return ArchitectureUpdate(
                added([second.alphas, *indirect]), {'A': second.loss, 'second': second.loss}
            )
        direct = scaled(first.alphas, self.trade_off)
        total = second.loss + self.trade_off * first.loss
        losses = {'A': total, 'second': second.loss, 'real': first.loss}
        return ArchitectureUpdate(added([second.alphas, direct, *indirect]), losses)


class _Validation(NamedTuple):
    """The validation loss at some weights, with its gradients; all detached."""

    loss: Tensor
    alphas: Parameters
    """Gradient of the loss in A."""
    weights: Parameters
    """Gradient of the loss in the weights; empty where nothing is unrolled."""


class _SaliencyChain:
    """The chain from A through W1', d' and W2' (equations 1 to 3), and the way back.

    Parameters
    ----------
    objective
        Gives the numbers of the perturbation.
    step
        The search iteration; the random start of d is drawn here, once.
    """

    def __init__(self, objective: SaliencyAware, step: Step) -> None:
        self.step, self.pixels = step, _pixels(step.train)
        self.live, alphas = SecondLearner(step), _detached(step.learner.alphas)
        self.ahead = step.hypergradient.ahead(step)
        self.first = self.ahead.weights
        # Equation 2 perturbs W1', not W1: d' depends on A through W1' as well.
        self.perturbation = objective.perturb(step, self.pixels, _detached(self.first), alphas)
        # L2 is differentiated in A and in d' at once, so that one product with v2 gives both b and u.
        targets = {**step.learner.alphas, _PERTURBATION: self.perturbation.end}
        with weights_held():
            self._inner = step.hypergradient.inner(self.salient_loss, self.live.weights, targets)
        self.second = leaves(sgd_step(self.live.weights, self._inner.gradients, **vars(self.live.numbers)))

    def salient_loss(self, weights: Parameters, targets: Parameters) -> Tensor:
        """L2(W2, A, d'): the loss of W2 on images multiplied by their saliency; A and d' are in ``targets``."""
        images = _salient(self.step, self.pixels, targets[_PERTURBATION])
        alphas = _without(targets, _PERTURBATION)
        return self.step.learner.loss(images, self.step.train.labels, weights, alphas)

    def change(self, perturbation: Tensor, weights: Parameters, alphas: Parameters) -> Tensor:
        """O(d, W1', A): the change of the output, in which both outputs depend on the weights and the architecture."""
        perturbed = _logits(self.step, self.pixels + perturbation, weights, alphas)
        return output_change(perturbed, _logits(self.step, self.pixels, weights, alphas))

    def backward(self, vector: Parameters) -> tuple[Parameters, Parameters]:
        """Return where v2 = dL/dW2' leads: to A without passing W1' (b + c), and to W1' (w)."""
        through_second = self.past_second(vector)
        to_perturbation = through_second.pop(_PERTURBATION)
        through_perturbation = self.past_perturbation(to_perturbation)
        to_first = {name: through_perturbation.pop(name) for name in self.first}
        return added([through_second, through_perturbation]), to_first

    def past_second(self, vector: Parameters) -> Parameters:
        """Return - lr (d2 L2 / d(A, d') dW2) . vector, by name of A and for d': b and u of equations 13 and 11."""
        return scaled(self._inner.product(vector), -self.live.numbers.lr)

    def past_perturbation(self, vector: Tensor) -> Parameters:
        """Return (d2 O / d(A, W1') dd) . (xi vector), by name of A and of W1': c and w of equations 17 and 15."""

        def change(perturbation: Parameters, targets: Parameters) -> Tensor:
            weights = {name: targets[name] for name in self.first}
            alphas = {name: targets[name] for name in self.step.learner.alphas}
            return self.change(perturbation[_PERTURBATION], weights, alphas)

        # d' = d + xi grad_d O has the derivative xi in the gradient, 0 where the step was cut at the ends of
        # [0, 1]. The second derivative is taken at d, where the last step starts. Its roles are those of an
        # inner problem: d for W, A and W1' for A.
        start, gained = self.perturbation.start, self.perturbation.gain * vector
        targets = {**self.step.learner.alphas, **self.first}
        return self.step.hypergradient.product(change, {_PERTURBATION: start}, targets, {_PERTURBATION: gained})


def _validate(step: Step, weights: Parameters) -> _Validation:
    """Return the loss on the validation batch, with the gradients that the hypergradient uses."""
    alphas, val = leaves(step.learner.alphas), step.val
    if not step.hypergradient.unrolls:
        loss = step.learner.loss(val.images, val.labels, _detached(weights), alphas)
        return _Validation(loss.detach(), gradient(loss, alphas), {})
    loss = step.learner.loss(val.images, val.labels, weights, alphas)
    return _Validation(loss.detach(), *gradients(loss, alphas, weights))


def _pixels(batch: Batch) -> Tensor:
    """Return the unaugmented images of a batch, mapped from [-1, 1] to [0, 1]."""
    if batch.clean is None:
        raise ValueError(
            'SaliencyAware needs unaugmented training images: use a SearchEvaluator with one of the data modules of '
            'nni_wcnas.data'
        )
    return signed_to_unit(batch.clean)


def _logits(step: Step, pixels: Tensor, weights: Parameters, alphas: Parameters) -> Tensor:
    """Return the logits ``(N, classes)`` of pixels in [0, 1]."""
    return step.learner.logits(step.learner.renormalise(unit_to_signed(pixels)), weights, alphas)


def _salient(step: Step, pixels: Tensor, perturbation: Tensor) -> Tensor:
    """Return pixels multiplied by their saliency, in the normalisation of the learner."""
    # The product is of pixels in [0, 1], where 0 is black. In normalised units, 0 would be the mean colour.
    return step.learner.renormalise(unit_to_signed(pixels * saliency(perturbation)))


def _detached(parameters: Parameters) -> Parameters:
    return {name: value.detach() for name, value in parameters.items()}


def _without(parameters: Parameters, name: str) -> Parameters:
    return {other: value for other, value in parameters.items() if other != name}
