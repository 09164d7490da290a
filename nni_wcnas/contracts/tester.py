"""The tester, which makes images that the learner fails on, and the auxiliary model that judges them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from nni_wcnas.contracts.batch import Batch, Losses, Parameters, SGDStep

__all__ = ['NamedOptimizer', 'Noise', 'Tester', 'GenerativeTester', 'Auxiliary']


class NamedOptimizer(NamedTuple):
    """An optimiser of the adversary group, with its per-epoch learning-rate schedule."""

    name: str
    optimizer: torch.optim.Optimizer
    scheduler: torch.optim.lr_scheduler.LRScheduler | None = None


class Noise(NamedTuple):
    """What images are made from: kept and passed again, it gives the same images."""

    latent: Any
    """What a tester makes its images from, beside their labels.

    For a generator: a tensor of shape ``(N, D)``, standard normal; the latent and, behind it, the noise of a generator
    that has more. For a tester that changes real images: these images and the random draws.
    """
    labels: Tensor
    """Classes, shape ``(N,)``, dtype int64."""


class Tester(nn.Module, ABC):
    """Makes labelled images that depend on hyper-parameters B, which are learned to make the learner fail.

    Here images depend on B itself, as those of an augmentation policy do; see :class:`GenerativeTester` for a generator
    that learns under B.
    """

    num_classes: int
    image_size: int
    pretrained: str | Path | None = None
    """File of pre-training that the tester was made with; an auxiliary model takes its state from there."""
    has_hyperparameters: bool = True
    """Whether there is a B.

    Where there is none, nothing ascends, and no auxiliary model learns, as its judgement is of use to B alone.
    """
    changes_validation: bool = False
    """Whether the real images that it changes are those of the validation batch, not of the training batch."""

    @abstractmethod
    def noise(self, count: int, source: Batch | None = None) -> Noise:
        """Draw what ``count`` images are made from, on the tester's device, from torch's global random state.

        ``source`` holds real images; a tester that changes real images draws from them, a generator needs none.
        """

    @abstractmethod
    def generate(self, noise: Noise, generator: Parameters | None = None) -> Tensor:
        """Return images f(G) or f(B) in [-1, 1], shape ``(N, 3, image_size, image_size)``; changes nothing.

        They are differentiable in ``generator``, by default the live :meth:`generator_parameters`.
        """

    def attack(self, images: Tensor, noise: Noise, logits: Callable[[Tensor], Tensor]) -> Tensor:
        """Return what the architecture sees of images that :meth:`generate` made of ``noise``; draws nothing.

        ``logits`` maps images in [-1, 1] to the learner's logits one step ahead; it is not differentiable in W' and A.
        """
        del noise, logits  # Unused: images are hard by B, not by the learner at hand.
        return images

    @abstractmethod
    def hyperparameters(self) -> Parameters:
        """Return B: the live, unconstrained hyper-parameters; empty where :attr:`has_hyperparameters` is False."""

    @abstractmethod
    def values(self) -> dict[str, float]:
        """Return B in its physical units, or what sums it up, by name, for logs."""

    def generator_parameters(self) -> Parameters:
        """Return what images are differentiable in: B, or the live parameters G of a generator."""
        return self.hyperparameters()

    @property
    def pauses_in_warmup(self) -> bool:
        """Whether the generator rests while B does, as in a warm-up: it would learn to fool a B that stands still."""
        return False

    def adversary_step(self, batch: Batch, *, update_generator: bool) -> Losses:
        """Let what is not B learn from one batch of real images; return the losses by name."""
        del batch, update_generator  # Unused: there is nothing but B.
        return {}

    def optimizers(self, epochs: int, *, learns_b: bool = True) -> list[NamedOptimizer]:
        """Build the optimisers of :meth:`adversary_step` and remember them; B's is the search's, where ``learns_b``."""
        del epochs, learns_b  # Unused: there is nothing but B.
        return []


class GenerativeTester(Tester):
    """A class-conditional generator G of labelled images, which learns under B beside a discriminator S."""

    @abstractmethod
    def generator_parameters(self) -> Parameters:
        """Return G: the live parameters of the generator."""

    @abstractmethod
    def generation_loss(
        self,
        noise: Noise,
        generator: Parameters | None = None,
        hyperparameters: Parameters | None = None,
        statistics: Any = None,
    ) -> tuple[Tensor, Any]:
        """Return L_dg(G, B), differentiable in both, and the statistics that it held fixed; never changes the tester.

        ``statistics`` are the batch statistics that the loss holds fixed; pass those that an earlier call returned to
        evaluate the *same* function at perturbed parameters.
        """

    @abstractmethod
    def adversary_step(self, batch: Batch, *, update_generator: bool) -> Losses:
        """Train the discriminator on one batch of real images and, if told so, the generator; return the losses by
        name."""

    @abstractmethod
    def optimizers(self, epochs: int, *, learns_b: bool = True) -> list[NamedOptimizer]:
        """Build the optimisers of G and S and remember them for :meth:`adversary_step`; B's is the search's, where
        ``learns_b``."""

    @abstractmethod
    def generator_step(self) -> SGDStep:
        """Return the numbers of the generator's next optimiser step."""


class Auxiliary(nn.Module, ABC):
    """The classifier V that judges whether generated images are meaningful.

    Called with images in [-1, 1] of shape ``(N, 3, H, W)`` it returns logits of shape ``(N, classes)``.
    """

    @abstractmethod
    def learnable(self) -> Parameters:
        """Return V: the live parameters that this model trains, not those it shares with the tester."""

    @abstractmethod
    def loss(self, images: Tensor, labels: Tensor, parameters: Parameters | None = None) -> Tensor:
        """Return the cross-entropy, differentiable in ``images`` and ``parameters``; never changes the model."""

    @abstractmethod
    def train_step(self, images: Tensor, labels: Tensor) -> Tensor:
        """Take one optimiser step on detached images; return the loss, detached."""

    @abstractmethod
    def optimizers(self, epochs: int) -> list[NamedOptimizer]:
        """Build V's optimiser over so many epochs; remember it for :meth:`train_step`."""

    @abstractmethod
    def sgd_step(self) -> SGDStep:
        """Return the numbers of V's next optimiser step."""
