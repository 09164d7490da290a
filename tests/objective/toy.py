"""A learner, a tester and an auxiliary model small enough to differentiate through in one go."""

import torch
from torch import nn
from torch.nn import functional as F

from nni_wcnas.contracts import Auxiliary, Batch, GenerativeTester, Learner, Noise, SGDStep, Step

FEATURES, CLASSES, LATENT = 4, 3, 2


class ToyLearner(Learner):
    """Logits = second layer of tanh((first layer x) * sigmoid(alpha))."""

    def __init__(self, numbers):
        self._weights = {
            'first': torch.randn(5, FEATURES).requires_grad_(),
            'second': torch.randn(CLASSES, 5).requires_grad_(),
        }
        self._alphas = {'alpha': torch.randn(5).requires_grad_()}
        self.numbers = numbers

    weights = property(lambda self: self._weights)
    alphas = property(lambda self: self._alphas)

    def _features(self, images, weights, alphas):
        return torch.tanh(images.flatten(1) @ weights['first'].T * torch.sigmoid(alphas['alpha']))

    def logits(self, images, weights=None, alphas=None):
        weights, alphas = weights or self._weights, alphas or self._alphas
        return self._features(images, weights, alphas) @ weights['second'].T

    def loss_and_features(self, images, labels, weights=None, alphas=None):
        features = self._features(images, weights or self._weights, alphas or self._alphas)
        return F.cross_entropy(self.logits(images, weights, alphas), labels), features

    def loss(self, images, labels, weights=None, alphas=None, *, moves_statistics=False):
        return self.loss_and_features(images, labels, weights, alphas)[0]

    def renormalise(self, images):
        return 2 * images + 0.5

    def sgd_step(self):
        return self.numbers


class ToyTester(GenerativeTester):
    """Images = tanh(G z + class rows); L_dg = exp(b1) mean (images - target)^2 + b2 mean images^3."""

    def __init__(self, numbers):
        super().__init__()
        self.num_classes, self.image_size = CLASSES, 2
        self.matrix, self.rows = (
            nn.Parameter(torch.randn(FEATURES, LATENT)),
            nn.Parameter(torch.randn(CLASSES, FEATURES)),
        )
        self.b1, self.b2 = nn.Parameter(torch.tensor(0.3)), nn.Parameter(torch.tensor(-0.2))
        self.numbers = numbers

    def noise(self, count, source=None):
        return Noise(torch.randn(count, LATENT), torch.randint(CLASSES, (count,)))

    def generate(self, noise, generator=None):
        generator = generator or self.generator_parameters()
        return torch.tanh(noise.latent @ generator['matrix'].T + generator['rows'][noise.labels])

    def generator_parameters(self):
        return {'matrix': self.matrix, 'rows': self.rows}

    def hyperparameters(self):
        return {'b1': self.b1, 'b2': self.b2}

    def generation_loss(self, noise, generator=None, hyperparameters=None, statistics=None):
        b, images = hyperparameters or self.hyperparameters(), self.generate(noise, generator)
        return b['b1'].exp() * (images - 0.3).square().mean() + b['b2'] * images.pow(3).mean(), statistics

    def adversary_step(self, batch, *, update_generator):
        return {}

    def optimizers(self, epochs, *, learns_b=True):
        return []

    def generator_step(self):
        return self.numbers

    def values(self):
        return {}


class ToyAuxiliary(Auxiliary):
    """Linear classifier on squared images."""

    def __init__(self, numbers):
        super().__init__()
        self.head = nn.Parameter(torch.randn(CLASSES, FEATURES))
        self.numbers = numbers

    def learnable(self):
        return {'head': self.head}

    def loss(self, images, labels, parameters=None):
        return F.cross_entropy(
            (images.flatten(1) ** 2 + images.flatten(1)) @ (parameters or self.learnable())['head'].T, labels
        )

    def train_step(self, images, labels):
        return 0.0

    def optimizers(self, epochs):
        return []

    def sgd_step(self):
        return self.numbers


class DroppingAuxiliary(ToyAuxiliary):
    """The same with dropout."""

    def loss(self, images, labels, parameters=None):
        return super().loss(F.dropout(images, 0.5), labels, parameters)


class ReplayingAuxiliary(DroppingAuxiliary):
    """The same with the random numbers of its first evaluation in all others."""

    state = None

    def loss(self, images, labels, parameters=None):
        self.state = torch.get_rng_state() if self.state is None else self.state
        with torch.random.fork_rng(devices=[]):
            torch.set_rng_state(self.state)
            return super().loss(images, labels, parameters)


def toy_step(hypergradient, *, momentum=0.9, weight_decay=0.05, seed=0, auxiliary=ToyAuxiliary):
    """A whole search iteration in float64; every group has its own rate and momentum buffers."""
    torch.manual_seed(seed)
    learner, tester, auxiliary = ToyLearner(None), ToyTester(None), auxiliary(None)
    for rate, owner, parameters in (
        (0.11, learner, learner.weights),
        (0.23, tester, tester.generator_parameters()),
        (0.37, auxiliary, auxiliary.learnable()),
    ):
        buffers = {name: torch.randn_like(value) for name, value in parameters.items()} if momentum else {}
        owner.numbers = SGDStep(rate, momentum, weight_decay, buffers)
    batches = [
        Batch(torch.randn(8, FEATURES), torch.randint(CLASSES, (8,)), torch.arange(8), torch.rand(8, FEATURES) * 2 - 1)
        for _ in range(2)
    ]
    return Step(
        *batches, learner, hypergradient, lambda batch: learner.loss(batch.images, batch.labels), tester, auxiliary
    )
