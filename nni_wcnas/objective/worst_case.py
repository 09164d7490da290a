"""WorstCase: the architecture minimises its loss on images that a tester generates to make it fail.

    min_A max_B  L(W', A, f(G')) - lambda L(V', D_val) + gamma L(W', A, D_val)
    W' = W - lr_w grad L_tr(W, A)      G' = G - lr_g grad L_dg(G, B)      V' = V - lr_v grad L(V, f(G'))

On every ``every``-th batch, with momentum and weight decay in each lookahead::

    W', G', V'  <- one step each                                              equations 7-9
    v_W         <- backward of L(W', A, f(G', z2)) + decov R + gamma L(W', A, D_val)
    dA          <- direct part - lr_w (d2 L_tr / dA dW) . v_W                   equations 12-14
    A descends
    g_img       <- backward of L(W', A, f(G', z2)) at the new A
    v_V         <- backward of L(V', D_val)
    g_G         <- (d f / dG')^T g_img + lambda lr_v (d2 L(V, f(G', z1)) / dG' dV) . v_V
    dB          <- - lr_g (d2 L_dg / dB dG) . g_G                               equations 15-16
    B ascends; then W, S, G, V take their own steps                            algorithm 1

In a warm-up W alone learns (papers/wcnas, section D.2.2). Logged: ``A``, what A descends, penalty included; ``B``, what
B ascends; of these ``generated``, ``real``, ``meaning`` and ``decov``, without their weights.

With a tester that has no generator, an augmentation policy P, images are f(P, x) of training images x (equation 6); B
is P, G' is P as it is, and dB = g_G. The policy is what an evaluator without a tester is given.

A tester without B, a perturbation, attacks the images of the validation batch at W' and A: what is left is A's descent
on the attacked images, taken as constants, as the envelope theorem has it. No auxiliary model learns.

Cost every-8 and unrolled: 1 + 4/8 forward and backward passes through the supernet a batch (1 + 3/8 with
``reuse_gradient``), and for each update of A a second backward pass for the product. ``presets.wcnas()`` is the paper's
row.

Tester and auxiliary model see the same random numbers (dropout, drop path) in every evaluation of one step, so that
perturbed evaluations differ by the perturbation alone.

Deviations: an auxiliary model that shares the discriminator's trunk takes it as a constant, also where the
discriminator is B; the DeCov regulariser R, of which the paper gives no form, is a mean of squared correlations, and
part of what A descends alone; with ``reuse_gradient`` A and W move together instead of A first.

References
----------
papers/wcnas, equations 1-16 and section 3.3; Cogswell et al., "Reducing Overfitting in Deep Networks by Decorrelating
Representations", ICLR 2016.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from nni_wcnas.contracts import (
    ArchitectureUpdate,
    Auxiliary,
    HyperparameterUpdate,
    Lookahead,
    Losses,
    Noise,
    Objective,
    Parameters,
    Step,
    Tester,
)
from nni_wcnas.errors import InvalidArgument
from nni_wcnas.functional.decorrelation import decorrelation
from nni_wcnas.functional.hypergradient import (
    added,
    gradient,
    gradients,
    leaves,
    replayed,
    scaled,
    sgd_step,
)
from nni_wcnas.objective.adversary import teach
from nni_wcnas.objective.image_chain import ImageChain

__all__ = ['WorstCase']


@dataclass(frozen=True)
class WorstCase(Objective):
    """Minimise the loss on generated validation examples that are hard, yet meaningful.

    Parameters
    ----------
    trade_off
        lambda: how much the generated images must stay meaningful. 0 drops the third stage: no auxiliary model learns
        ("adversarial only", equation 20).
    average_weight
        gamma: weight of the loss on real validation images. 0 drops the term, and its pass through the supernet.
    decov
        Weight of the decorrelation R of the learner's penultimate features of generated images, in [0, 1], which A
        descends.
    every
        A, B and the generator are updated on every ``every``-th batch.
    hyperparameter_lr
        Learning rate of Adam on B.
    reuse_gradient
        Let the weight step of an architecture batch take the training gradient that the lookahead computed: one pass
        less, but W then moves under the old A. Needs an unrolled hypergradient.

    Raises
    ------
    ValueError
        On a negative weight, or ``every`` below 1.
    """

    trade_off: float = 1.0
    average_weight: float = 1.0
    decov: float = 0.01
    every: int = 8
    hyperparameter_lr: float = 3e-4
    reuse_gradient: bool = False
    needs_tester = True
    rests_in_warmup = True

    def __post_init__(self) -> None:
        for name in ('trade_off', 'average_weight', 'decov'):
            if not 0 <= getattr(self, name) < math.inf:
                raise InvalidArgument(name, getattr(self, name), 'be 0 or more and finite')
        if not 0 < self.hyperparameter_lr < math.inf:
            raise InvalidArgument('hyperparameter_lr', self.hyperparameter_lr, 'be positive and finite')
        if self.every < 1:
            raise InvalidArgument('every', self.every, 'be at least 1 batch')

    @property
    def needs_auxiliary(self) -> bool:  # type: ignore[override]
        """Whether there is a third stage: with lambda = 0 no auxiliary model judges the images, so none is needed."""
        return self.trade_off > 0

    def architecture_step(self, step: Step) -> ArchitectureUpdate:
        """Return dA, with a function that computes dB once A has moved.

        Raises
        ------
        ValueError
            When the search has no tester, or no auxiliary model although lambda is above 0.
        """
        tester = _tester(step)
        source = step.val if tester.changes_validation else step.train
        # All noise before the chain, which replays from here on: a mask shall not repeat the numbers of a latent.
        # z0 trains the generator in L_dg (equation 8), z1 the auxiliary model (equation 9), and z2
        # makes the images that A and B play on.
        z0, z1, z2 = (tester.noise(len(source.labels), source) for _ in range(3))
        chain = ImageChain(step, tester, z0)
        meaning = _Meaning(step, chain, z1) if self._keeps_meaning(tester) else None
        ahead = step.hypergradient.ahead(step, reuse=self.reuse_gradient)
        # Detached: dA holds the images constant, and only dB, computed later, differentiates through the generator.
        # `attack` changes nothing unless the tester is a perturbation.
        images = tester.attack(chain.generate(z2, chain.generator).detach(), z2, _held(step, ahead.weights))
        alphas, losses = self._descend(step, ahead, images, z2.labels)
        reused = ahead.training if self.reuse_gradient else None
        losses |= {'W': reused.loss} if reused else {}

        # Algorithm 1 updates A in step 4 and B in step 5: as a function, dB is computed at the A that step 4 has left.
        def ascent() -> HyperparameterUpdate:
            return self._ascend(step, ahead.weights, chain, z2, meaning)

        gradients_of_w = reused.gradients if reused else None
        return ArchitectureUpdate(alphas, losses, ascent if tester.has_hyperparameters else None, gradients_of_w)

    def _keeps_meaning(self, tester: Tester) -> bool:
        """Whether the auxiliary model is trained: its judgement changes B alone, so it is idle beside a tester without
        B."""
        return self.needs_auxiliary and tester.has_hyperparameters

    def _descend(
        self, step: Step, ahead: Lookahead, images: Tensor, labels: Tensor
    ) -> tuple[Parameters, Losses]:
        """dA = d/dA (L(W', A, images) + decov R + gamma L(W', A, D_val)), and the losses."""
        # `alphas` are fresh leaves, so that the direct part (W' held) and v_W come out of one backward pass.
        learner, alphas = step.learner, leaves(step.learner.alphas)
        worst, features = learner.loss_and_features(learner.renormalise(images), labels, ahead.weights, alphas)
        losses, total = {'generated': worst.detach()}, worst
        if self.decov:
            penalty = decorrelation(features)
            losses['decov'] = penalty.detach()
            total = worst + self.decov * penalty
        losses['A'] = total.detach()
        # One term after the other, backward pass included: their graphs need not be held together.
        groups = [gradients(total, alphas, ahead.weights)]
        if self.average_weight:
            average = learner.loss(step.val.images, step.val.labels, ahead.weights, alphas)
            losses['real'] = average.detach()
            losses['A'] = losses['A'] + self.average_weight * average.detach()
            groups.append(gradients(self.average_weight * average, alphas, ahead.weights))
        # Equations 12 and 14: dA = dL/dA + (dW'/dA) . dL/dW'. The product is linear in dL/dW', so one
        # serves the sum of both validation terms.
        direct, vector = (added(part) for part in zip(*groups))
        return added([direct, ahead.indirect(vector)]), losses

    def _ascend(
        self, step: Step, weights: Parameters, chain: ImageChain, noise: Noise, meaning: _Meaning | None
    ) -> HyperparameterUpdate:
        """dB = d/dB (L(W', A, f(G')) - lambda L(V', D_val)), with A as it is by now."""
        learner = step.learner
        # Generated again, now with a graph to G': the same z2 and replayed random
        # numbers give the images that A has seen.
        images = chain.generate(noise, chain.generator)
        shown = images.detach().requires_grad_()
        # B is differentiated through the images alone: W' and A are constants, which keeps
        # the pass to one backward by the pixels.
        constant = {name: alpha.detach() for name, alpha in learner.alphas.items()}
        held = {name: weight.detach() for name, weight in weights.items()}
        worst = learner.loss(learner.renormalise(shown), noise.labels, held, constant)
        by_images = gradient(worst, {'images': shown})['images']  # Zero where 'none' alone was drawn.
        # (df / dG')^T dL/dimages: the learner's loss as a function of the generator
        (vector,) = gradients(images, chain.generator, cotangent=by_images)
        losses = {'B': worst.detach()}
        # `fall` is -dL(V', D_val) / dG', so adding it subtracts lambda L(V', D_val), as equation 11 has it.
        if meaning is not None:
            losses['meaning'], fall = meaning.gradient()
            vector = {name: value + self.trade_off * fall[name] for name, value in vector.items()}
            losses['B'] = losses['B'] - self.trade_off * losses['meaning']
        return HyperparameterUpdate(chain.hyperparameter_gradient(vector), losses)

    def adversary_step(self, step: Step, *, update_generator: bool) -> Losses:
        """S learns on every batch, G on every ``every``-th, V on fresh generated images on every batch."""
        tester = _tester(step)
        losses = teach(tester, step.train, update_generator=update_generator)
        # V's own step is on images of the live generator, after G has taken its step; V' of equation 9 is not kept.
        if self._keeps_meaning(tester):
            noise = tester.noise(len(step.train.labels), step.train)
            losses['V'] = _auxiliary(step).train_step(tester.generate(noise).detach(), noise.labels)
        return losses


def _held(step: Step, weights: Parameters) -> Callable[[Tensor], Tensor]:
    """Return a function from images in [-1, 1] to the learner's logits ``(N, classes)`` at W' and A, both held
    constant."""
    learner = step.learner
    w, a = ({name: value.detach() for name, value in group.items()} for group in (weights, learner.alphas))
    return lambda images: learner.logits(learner.renormalise(images), w, a)


def _tester(step: Step) -> Tester:
    if step.tester is None:
        raise ValueError('WorstCase needs a tester: give the search a SearchEvaluator(tester=FQGAN(...))')
    return step.tester


def _auxiliary(step: Step) -> Auxiliary:
    if step.auxiliary is None:
        raise ValueError(
            'WorstCase needs an auxiliary model: give the search a SearchEvaluator(tester=FQGAN(...)), or set '
            'trade_off=0'
        )
    return step.auxiliary


class _Meaning:
    """How well the auxiliary model, one step ahead on generated images, classifies real ones: equation 9.

    Parameters
    ----------
    step
        The search iteration.
    chain
        Makes the images.
    noise
        z1, the noise of the images that V learns from.
    """

    def __init__(self, step: Step, chain: ImageChain, noise: Noise) -> None:
        self._step, self._auxiliary, self._chain, self._noise = step, _auxiliary(step), chain, noise
        # Replayed random numbers give V the same dropout masks at V, at V' and in finite differences.
        self._evaluate = replayed(self._auxiliary.loss, step.train.labels.device)

    def gradient(self) -> tuple[Tensor, Parameters]:
        """Return L(V', D_val) and -dL(V', D_val) / dG'.

        The second is + lr_v (d2 L(V, f(G', z1)) / dG' dV) . v_V with v_V = dL(V', D_val) / dV': the minus sign of V's
        own step and that of the objective cancel (equation 16).
        """
        live, numbers = self._auxiliary.learnable(), self._auxiliary.sgd_step()

        def loss(auxiliary: Parameters, generator: Parameters) -> Tensor:
            return self._evaluate(self._chain.generate(self._noise, generator), self._noise.labels, auxiliary)

        # The gradient at V takes the step of equation 9; its product with v_V, by
        # G', is the middle factor of equation 16.
        inner = self._step.hypergradient.inner(loss, live, self._chain.generator)
        ahead = leaves(sgd_step(live, inner.gradients, **vars(numbers)))
        val = self._step.val
        if val.clean is None:
            raise ValueError(
                'WorstCase needs unaugmented validation images: use a SearchEvaluator with one of the data modules '
                'of nni_wcnas.data'
            )
        value = self._evaluate(val.clean, val.labels, ahead)
        return value.detach(), scaled(inner.product(gradient(value, ahead)), numbers.lr)
