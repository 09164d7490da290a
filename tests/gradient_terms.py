"""What the gradients of a search are made of: shares of |dA| and |dB| by term, and how true each product is.

A probe stands in the place of an objective, lets it work as ever, and at chosen updates takes its gradients again with
a term left out. All passes of one update see the same random numbers.
"""

import contextlib
from dataclasses import replace
from unittest import mock

import torch
from torch.nn.functional import cosine_similarity

from nni_wcnas.contracts import Lookahead, Objective
from nni_wcnas.functional.hypergradient import implicit_product, leaves
from nni_wcnas.hypergradient import Unrolled
from nni_wcnas.objective import WorstCase


def flat(parameters):
    """All tensors by name as one vector, float64."""
    return torch.cat([value.detach().flatten().double() for _, value in sorted(parameters.items())])


class Probed(Objective):
    """An objective that is watched.

    Parameters
    ----------
    inner
        The objective.
    at
        Numbers of the search's batches, from 0: each is measured at the first update from there on.
    measure
        ``measure(objective, step) -> dict``; what it finds is in ``found``.
    """

    def __init__(self, inner, at, measure):
        self.inner, self.measure, self.found = inner, measure, {}
        self._waiting, self._batches = sorted(at), -1
        for name in dir(Objective):
            if not name.startswith('_') and not callable(getattr(Objective, name)):
                setattr(self, name, getattr(inner, name))
        self.every = inner.every

    def weight_loss(self, step):
        return self.inner.weight_loss(step)

    def adversary_step(self, step, *, update_generator):
        return self.inner.adversary_step(step, update_generator=update_generator)

    def architecture_step(self, step):
        batch = self._batches = self._batches + self.every if self._batches >= 0 else 0
        if self._waiting and batch >= self._waiting[0]:
            with unchanged(step):
                self.found[self._waiting.pop(0)] = {'batch': batch, **self.measure(self.inner, step)}
        return self.inner.architecture_step(step)


@contextlib.contextmanager
def unchanged(step):
    """Random state and the objective's memory are put back."""
    memory = dict(step.memory)
    with torch.random.fork_rng():
        yield
    step.memory.clear()
    step.memory.update(memory)


class DirectOnly(Unrolled):
    """W' as ever, but nothing leads back through it."""

    def ahead(self, step, *, reuse=False):
        found = super().ahead(step, reuse=reuse)
        return Lookahead(found.weights, lambda vector: {n: torch.zeros_like(a) for n, a in step.learner.alphas.items()},
                         found.training)


def terms(objective, step):
    """|dA|, |dB| and, as shares of them, the length of each term; terms may cancel."""
    def update(objective=objective, **changes):
        with unchanged(step):
            found = objective.architecture_step(replace(step, **changes))
            return flat(found.alphas), found.ascent and flat(found.ascent().hyperparameters)

    a, b = update()
    found = {'A': {}, 'B': {}}
    if isinstance(objective, WorstCase):
        rest = a
        for name, field in (('decov', 'decov'), ('real', 'average_weight')):
            if getattr(objective, field):
                without, _ = update(replace(objective, **{field: 0.0}))
                found['A'][name], rest = a - without, rest - (a - without)
        found['A']['generated'] = rest
        if b is not None and objective.trade_off:
            _, without = update(replace(objective, trade_off=0.0))
            found['B'] = {'meaning': b - without, 'generated': without}
        elif b is not None:
            found['B'] = {'generated': b}
    if step.hypergradient.unrolls:
        hypergradient = DirectOnly(step.hypergradient.by, step.hypergradient.radius)
        found['A']['through W'] = a - update(hypergradient=hypergradient)[0]
    lengths = {'A': a.norm(), 'B': None if b is None else b.norm()}
    return {
        group: {'norm': float(length), **{name: float(term.norm() / length) for name, term in found[group].items()}}
        for group, length in lengths.items() if length is not None
    }


def reference_product(loss, parameters, targets, vector):
    """By three backward passes through torch's own layers: another way than the package's."""
    point, by_target = leaves(parameters), leaves(targets)
    every = {'create_graph': True, 'materialize_grads': True}
    with mock.patch('nni_wcnas.search.learner.quick_second_pass', lambda module: contextlib.nullcontext()):
        value = loss(point, by_target)
    by_name = dict(zip(by_target, torch.autograd.grad(value, list(by_target.values()), **every)))
    # A constant gradient, as that of a bias of a linear score, has no graph, and no product.
    names = [name for name, slope in by_name.items() if slope.requires_grad]
    slopes = [by_name[name] for name in names]
    dummies = [torch.zeros_like(slope, requires_grad=True) for slope in slopes]
    through = torch.autograd.grad(slopes, list(point.values()), dummies, **every)
    total = sum((value * vector[name]).sum() for name, value in zip(point, through))
    found = torch.autograd.grad(total, dummies, materialize_grads=True)
    return {name: torch.zeros_like(slope) for name, slope in by_name.items()} | dict(zip(names, found))


class Compared(Unrolled):
    """Takes each product in the ways of ``others`` as well, and compares them with the reference."""

    def __init__(self, member, others, name_of):
        super().__init__(getattr(member, 'by', 'exact'), getattr(member, 'radius', None))
        object.__setattr__(self, 'others', others)
        object.__setattr__(self, 'name_of', name_of)
        object.__setattr__(self, 'found', {})
        object.__setattr__(self, 'unrolls', member.unrolls)

    def inner(self, loss, parameters, targets):
        found = super().inner(loss, parameters, targets)

        def product(vector):
            value = found.product(vector)
            self._compare(loss, parameters, targets, vector, value)
            return value

        return found._replace(product=product)

    def product(self, loss, parameters, targets, vector):
        value = super().product(loss, parameters, targets, vector)
        self._compare(loss, parameters, targets, vector, value)
        return value

    def _compare(self, loss, parameters, targets, vector, value):
        exact = flat(reference_product(loss, parameters, targets, vector))
        if not exact.norm() > 0:
            return
        ways = {'own': flat(value)}
        for name, (by, radius) in self.others.items():
            ways[name] = flat(implicit_product(loss, parameters, targets, vector, by, radius))
        self.found[self.name_of(parameters)] = {
            name: {'cosine': float(cosine_similarity(way, exact, 0)), 'length': float(way.norm() / exact.norm())}
            for name, way in ways.items()
        }


def products(objective, step, others=None):
    """Of each product of one update: cosine with the exact one, and length as a multiple of it.

    ``others`` are further ways by name, ``(by, radius)``.
    """
    def name_of(parameters):
        if set(parameters) == set(step.learner.weights):
            return 'W'
        if step.tester is not None and set(parameters) == set(step.tester.generator_parameters()):
            return 'G'
        return 'V' if step.auxiliary is not None else 'd'

    hypergradient = step.hypergradient
    compared = Compared(hypergradient, others or {}, name_of)
    with unchanged(step):
        update = objective.architecture_step(replace(step, hypergradient=compared))
        if update.ascent is not None:
            update.ascent()
    return compared.found
