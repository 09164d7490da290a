"""SynthesizedValidation: the architecture minimises the loss on generated images, DASGM.

A class-conditional GAN learns from the architecture's half of the training set while the search runs; the architecture
learns from what it generates, which differs from batch to batch, and not from that half itself.

    dA = d L(W', A, J3) / dA,     J3 = images of G, and ``real_share`` of the batch real validation images
    dB = d L(W', A, J3(G'(B))) / dB, to ascend, where B is learned: then J3 = images of G'
    G, E learn from D_val on every batch

Acts on every ``every``-th batch; the generator and its discriminator learn on every batch, or not at all
(``trains_tester=False``: the ablation with a pre-trained generator). Costs what
:class:`~nni_wcnas.objective.AverageCase` costs, and the GAN's own step. Needs a tester and no auxiliary model.
The GAN learns in a warm-up as well: it begins from nothing, and the architecture shall find images when it begins.
Deviations: G takes its step at the end of a batch and not at its start, so the architecture sees the G' of the batch
before, unless B is learned. B is what the tester says it is; the paper's is the discriminator's architecture, of which
it gives no form: ours is ``BigGAN(learns='architecture')``.

References
----------
papers/dasgm, equations 1-7, algorithm 1, and table 2 for the shares of real images.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from nni_wcnas.contracts import ArchitectureUpdate, HyperparameterUpdate, Losses, Noise, Objective, Step, Tester
from nni_wcnas.errors import InvalidArgument
from nni_wcnas.functional.hypergradient import gradients
from nni_wcnas.objective.adversary import teach
from nni_wcnas.objective.descent import descent
from nni_wcnas.objective.image_chain import ImageChain

__all__ = ['SynthesizedValidation']


@dataclass(frozen=True)
class SynthesizedValidation(Objective):
    """Minimise the loss on generated validation examples.

    Parameters
    ----------
    real_share
        Share of real images in each batch that the architecture learns from.
    trains_tester
        Whether the GAN goes on learning.
    every
        Update the architecture, and B, on every ``every``-th batch.
    hyperparameter_lr
        Learning rate of Adam on B; 0 leaves B alone, and the discriminator to its game. Needs an unrolled
        hypergradient, as in the paper.

    Raises
    ------
    ValueError
        When a number is out of range, or B shall be learned beside a generator that is not.
    """

    real_share: float = 0.0
    trains_tester: bool = True
    every: int = 1
    hyperparameter_lr: float = 0.0
    needs_tester = True
    needs_generator = True

    def __post_init__(self) -> None:
        if not 0 <= self.real_share < 1:
            raise InvalidArgument(
                'real_share', self.real_share, 'for real images alone take objective=AverageCase()',
                reason='is not at least 0 and below 1',
            )
        if self.every < 1:
            raise InvalidArgument('every', self.every, 'be at least 1 batch')
        if not 0 <= self.hyperparameter_lr < math.inf:
            raise InvalidArgument('hyperparameter_lr', self.hyperparameter_lr, 'be 0 or more and finite')
        if self.hyperparameter_lr and not self.trains_tester:
            raise InvalidArgument(
                'hyperparameter_lr', self.hyperparameter_lr, 'set it to 0, or trains_tester=True',
                reason='does nothing for a generator that does not learn',
            )

    @property
    def trains_generator(self) -> bool:  # type: ignore[override]
        """Whether the GAN goes on learning, as ``trains_tester`` says."""
        return self.trains_tester

    @property
    def needs_unrolling(self) -> bool:  # type: ignore[override]
        """Whether B is learned, which needs unrolled weights: with the weights as they are, the paper found it to do
        harm."""
        return self.hyperparameter_lr > 0

    def architecture_step(self, step: Step) -> ArchitectureUpdate:
        """Return dA of the loss on the synthesized batch, with a function that returns dB where B is learned."""
        if self.hyperparameter_lr:
            return self._with_hyperparameters(step)
        with torch.no_grad():
            images, labels = self._batch(step, _tester(step).generate)
        alphas, loss, _ = descent(step, lambda weights, alphas: step.learner.loss(images, labels, weights, alphas))
        return ArchitectureUpdate(alphas, {'A': loss, 'generated': loss})

    def _with_hyperparameters(self, step: Step) -> ArchitectureUpdate:
        """Return dA, and dB through the images of G', on which the loss depends by B: equations 4, 6 and 7."""
        tester = _tester(step)
        chain = ImageChain(step, tester, tester.noise(len(step.val.labels)))
        images, labels = self._batch(step, lambda noise: chain.generate(noise, chain.generator))
        # The graph is cut at the pixels: the learner's passes run to the images,
        # and one more pass leads from there to G'.
        shown = images.detach().requires_grad_()
        alphas, loss, rise = descent(
            step, lambda weights, alphas: step.learner.loss(shown, labels, weights, alphas), {'images': shown}
        )
        # g_G = (d images / dG')^T dL/dimages. Equation 7 has the same loss as
        # equation 6, so dB needs no pass of its own.
        (vector,) = gradients(images, chain.generator, cotangent=rise['images'])
        losses = {'A': loss, 'generated': loss}

        def ascent() -> HyperparameterUpdate:
            return HyperparameterUpdate(chain.hyperparameter_gradient(vector), {'B': loss})

        return ArchitectureUpdate(alphas, losses, ascent)

    def adversary_step(self, step: Step, *, update_generator: bool) -> Losses:
        """Let the GAN take one step on the validation batch, whether or not the architecture has learned from it.

        A generator whose discriminator is B is the exception: it learns only where the architecture has.
        """
        if not self.trains_tester:
            return {}
        tester = _tester(step)
        return teach(tester, step.val, update_generator=update_generator or not tester.pauses_in_warmup)

    def _batch(self, step: Step, generate: Callable[[Noise], Tensor]) -> tuple[Tensor, Tensor]:
        """Return images and labels of the architecture's batch: real images first, then generated ones, N in all.

        The number of real images is their share of N, rounded down. Images have the learner's normalisation.
        """
        val = step.val
        real = int(self.real_share * len(val.labels))
        noise = _tester(step).noise(len(val.labels) - real)
        # Real images are the learner's, augmented and normalised; generated ones
        # in [-1, 1] take its normalisation alone.
        generated = step.learner.renormalise(generate(noise))
        return torch.cat((val.images[:real], generated)), torch.cat((val.labels[:real], noise.labels))


def _tester(step: Step) -> Tester:
    if step.tester is None:
        raise ValueError(
            'SynthesizedValidation needs a tester: give the search a SearchEvaluator(tester=FQGAN(...))'
        )
    return step.tester
