"""WorstCase: the architecture minimises its loss on images that a tester generates to make it fail.

    min_A max_B  L(W', A, f(G')) - lambda L(V', D_val) + gamma L(W', A, D_val)
    W' = W - lr_w grad L_tr(W, A)      G' = G - lr_g grad L_dg(G, B)      V' = V - lr_v grad L(V, f(G'))

On every ``every``-th batch, with momentum and weight decay in each lookahead::

    W', G', V'  <- one step each                                              equations 7-9
    v_W, g_img  <- backward of L(W', A, f(G', z2)) + decov R + gamma L(W', A, D_val)
    dA          <- direct part - lr_w (d2 L_tr / dA dW) . v_W                   equations 12-14
    v_V         <- backward of L(V', D_val)
    g_G         <- (d f / dG')^T g_img + lambda lr_v (d2 L(V, f(G', z1)) / dG' dV) . v_V
    dB          <- - lr_g (d2 L_dg / dB dG) . g_G                               equations 15-16
    A descends, B ascends; then W, S, G, V take their own steps

Cost in passes through the supernet, every-8 and unrolled: 1 + 5/8 a batch (1 + 4/8 with ``reuse_gradient``).
``presets.wcnas()`` is the paper's row.

Tester and auxiliary model see the same random numbers (dropout, drop path) in every evaluation of one step, so that
perturbed evaluations differ by the perturbation alone.

Deviations: the DeCov regulariser R is part of the objective that A minimises and B maximises (one backward pass serves
both); with ``reuse_gradient`` A and W move together instead of A first.

References
----------
papers/wcnas, equations 1-16 and section 3.3; Cogswell et al., "Reducing Overfitting in Deep Networks by Decorrelating
Representations", ICLR 2016.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from nni_wcnas.contracts import ArchitectureUpdate, Auxiliary, Losses, Noise, Objective, Parameters, Step, Tester
from nni_wcnas.functional.decorrelation import decorrelation
from nni_wcnas.functional.hypergradient import (
    gradient,
    gradients,
    leaves,
    lookahead,
    replayed,
    scaled,
    sgd_step,
)
from nni_wcnas.objective.adversary import teach

__all__ = ['WorstCase']


@dataclass(frozen=True)
class WorstCase(Objective):
    """Minimise the loss on generated validation examples that are hard, yet meaningful.

    Parameters
    ----------
    trade_off
        lambda: how much the generated images must stay meaningful. 0 drops the auxiliary model's term.
    average_weight
        gamma: weight of the loss on real validation images. 0 drops the term, and its pass through the supernet.
    decov
        Weight of the decorrelation of the learner's penultimate features of generated images.
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
    decov: float = 0.1
    every: int = 8
    hyperparameter_lr: float = 3e-4
    reuse_gradient: bool = False
    needs_tester = True
    needs_auxiliary = True

    def __post_init__(self) -> None:
        for name in ('trade_off', 'average_weight', 'decov'):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f'{name} must be 0 or more and finite, not {getattr(self, name)}')
        if not 0 < self.hyperparameter_lr < math.inf:
            raise ValueError(f'hyperparameter_lr must be positive and finite, not {self.hyperparameter_lr}')
        if self.every < 1:
            raise ValueError(f'every must be at least 1 batch, not {self.every}')

    def architecture_step(self, step: Step) -> ArchitectureUpdate:
        """dA and dB of the worst-case objective."""
        tester, _ = self._adversary(step)
        count = len(step.train.labels)
        # All noise before the chain, which replays from here on: a mask shall not repeat the numbers of a latent.
        z0, z1, noise = tester.noise(count), tester.noise(count), tester.noise(count)
        chain = _TesterChain(step, self.trade_off, z0, z1)
        weights, training = step.hypergradient.ahead(step, reuse=self.reuse_gradient)
        alphas = leaves(step.learner.alphas)
        images = chain.generate(noise, chain.generator)
        shown = images.detach().requires_grad_()
        worst, features = step.learner.loss_and_features(step.learner.renormalise(shown), noise.labels, weights, alphas)
        objective = worst + self.decov * decorrelation(features) if self.decov else worst
        direct, vector, image = gradients(objective, alphas, weights, {'images': shown})
        losses = {'A': worst.detach(), 'generated': worst.detach()}
        if self.average_weight:
            average = step.learner.loss(step.val.images, step.val.labels, weights, alphas)
            for group, more in zip((direct, vector), gradients(average, alphas, weights)):
                for name, value in more.items():
                    group[name] = group[name] + self.average_weight * value
            losses |= {'A': losses['A'] + self.average_weight * average.detach(), 'real': average.detach()}
        indirect = step.hypergradient.indirect(step, vector)
        # (df / dG')^T dL/dimages: the learner's loss as a function of the generator
        (through_images,) = gradients(images, chain.generator, cotangent=image['images'])
        rise = chain.hyperparameter_gradient(through_images)
        losses |= chain.losses
        reused = training if self.reuse_gradient else None
        losses |= {'W': reused.loss} if reused else {}
        losses['B'] = losses['generated']
        if 'meaning' in losses:
            losses['B'] = losses['B'] - self.trade_off * losses['meaning']
        return ArchitectureUpdate(
            {name: direct[name] + indirect[name] for name in alphas},
            losses,
            rise,
            reused.gradients if reused else None,
        )

    def adversary_step(self, step: Step, *, update_generator: bool) -> Losses:
        """S learns on every batch, G on every ``every``-th, V on fresh generated images on every batch."""
        tester, auxiliary = self._adversary(step)
        losses = teach(tester, step.train, update_generator=update_generator)
        noise = tester.noise(len(step.train.labels))
        losses['V'] = auxiliary.train_step(tester.generate(noise).detach(), noise.labels)
        return losses

    @staticmethod
    def _adversary(step: Step) -> tuple[Tester, Auxiliary]:
        if step.tester is None or step.auxiliary is None:
            raise ValueError(
                'WorstCase needs a tester and an auxiliary model: give the search a SearchEvaluator(tester=FQGAN(...))'
            )
        return step.tester, step.auxiliary


class _TesterChain:
    """From B through G' and V' to the objective: equations 8, 9, 15 and 16.

    Each loss and each image is evaluated with the random numbers that stand at its construction, and leaves the global
    random state alone.

    Parameters
    ----------
    step
        The search iteration.
    trade_off
        lambda.
    training_noise
        What the generator is trained on in L_dg.
    noise
        z1, which V learns from.
    """

    def __init__(self, step: Step, trade_off: float, training_noise: Noise, noise: Noise) -> None:
        self.tester, self.auxiliary = WorstCase._adversary(step)
        self.step, self.trade_off, self.noise = step, trade_off, noise
        self.training_noise = training_noise
        self.losses: Losses = {}
        device = step.train.labels.device
        self.generate = replayed(self.tester.generate, device)
        self.generation_loss = replayed(self.tester.generation_loss, device)
        self.auxiliary_loss = replayed(self.auxiliary.loss, device)
        live = self.tester.generator_parameters()
        loss, self.statistics = self.generation_loss(training_noise)
        self.generator = leaves(sgd_step(live, gradient(loss, live), **vars(self.tester.generator_step())))

    def hyperparameter_gradient(self, through_images: Parameters) -> Parameters:
        """dB, given dL/dG' of the learner's loss."""
        vector = through_images
        if self.trade_off:
            meaning = self._meaning()
            vector = {name: value + meaning[name] for name, value in through_images.items()}

        def rise(generator: Parameters, create_graph: bool) -> Parameters:
            hyperparameters = leaves(self.tester.hyperparameters())
            loss, _ = self.generation_loss(self.training_noise, generator, hyperparameters, self.statistics)
            return gradient(loss, hyperparameters, create_graph=create_graph)

        product = self.step.hypergradient.product(rise, self.tester.generator_parameters(), vector)
        return scaled(product, -self.tester.generator_step().lr)

    def _meaning(self) -> Parameters:
        """d(-lambda L(V', D_val)) / dG' = + lambda lr_v (d2 L(V, f(G', z1)) / dG' dV) . v_V: two minus signs."""
        live, numbers = self.auxiliary.learnable(), self.auxiliary.sgd_step()
        images = self.generate(self.noise, self.generator).detach()
        ahead = lookahead(lambda auxiliary: self._loss(images, auxiliary), live, **vars(numbers))
        val = self.step.val
        if val.clean is None:
            raise ValueError(
                'WorstCase needs unaugmented validation images: use a SearchEvaluator with one of the data modules '
                'of nni_wcnas.data'
            )
        loss = self.auxiliary_loss(val.clean, val.labels, ahead)
        self.losses['meaning'] = loss.detach()

        def fall(auxiliary: Parameters, create_graph: bool) -> Parameters:
            generator = leaves(self.generator)
            return gradient(
                self._loss(self.generate(self.noise, generator), auxiliary), generator, create_graph=create_graph
            )

        product = self.step.hypergradient.product(fall, live, gradient(loss, ahead))
        return scaled(product, self.trade_off * numbers.lr)

    def _loss(self, images: Tensor, parameters: Parameters) -> Tensor:
        return self.auxiliary_loss(images, self.noise.labels, parameters)
