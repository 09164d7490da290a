"""How the tester's images follow from its hyper-parameters B, and how a gradient by the images leads back to B.

With a generator that learns under B, one step ahead of it::

    G' = G - lr_g grad L_dg(G, B)                                               equation 8
    dB = - lr_g (d2 L_dg / dB dG) . g_G                                         equations 15-16

Without one, as with an augmentation policy, images depend on B itself: G' is B, and dB is g_G.

References
----------
papers/wcnas, equations 6, 8, 15 and 16; papers/dasgm, equations 4 and 7.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from nni_wcnas.contracts import GenerativeTester, Noise, Parameters, Step, Tester
from nni_wcnas.functional.hypergradient import leaves, replayed, scaled, sgd_step

__all__ = ['ImageChain']


class ImageChain:
    """From B to the images and back, for one search iteration.

    Each loss and each image is evaluated with the random numbers that stand at its construction, and leaves the global
    random state alone.

    Parameters
    ----------
    step
        The search iteration.
    tester
        The tester that makes the images.
    training_noise
        Noise of the images that the generator is trained on in L_dg.
    """

    def __init__(self, step: Step, tester: Tester, training_noise: Noise) -> None:
        self.tester = tester
        device = step.train.labels.device
        self.generate = replayed(tester.generate, device)
        live = tester.generator_parameters()
        if isinstance(tester, GenerativeTester):
            generation_loss = replayed(tester.generation_loss, device)
            statistics: Any = None

            # The first evaluation of L_dg fixes its batch statistics. A finite difference must evaluate the same
            # function on both sides of G, and statistics that followed the perturbed images would make it another one.
            def loss(generator: Parameters, hyperparameters: Parameters) -> Tensor:
                nonlocal statistics
                value, statistics = generation_loss(training_noise, generator, hyperparameters, statistics)
                return value

            self._inner = step.hypergradient.inner(loss, live, tester.hyperparameters())
            # The fields of SGDStep are the keyword arguments of `sgd_step`: learning
            # rate, momentum, weight decay, buffers.
            live = sgd_step(live, self._inner.gradients, **vars(tester.generator_step()))
        self.generator = leaves(live)
        """What the images are differentiable in, as leaves: G' of a generator, else B itself."""

    def hyperparameter_gradient(self, vector: Parameters) -> Parameters:
        """Return dB for the gradient g_G of an objective by :attr:`generator`.

        May be called once: an exact product frees the graph that it differentiates.
        """
        if not isinstance(self.tester, GenerativeTester):
            return vector
        # Equation 15: dG'/dB = - lr_g d2 L_dg / dB dG; momentum and weight decay of G' do not depend on B.
        return scaled(self._inner.product(vector), -self.tester.generator_step().lr)
