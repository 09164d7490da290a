"""Every kind of GAN that the registry names, small; what the tests of all of them share."""

from __future__ import annotations

import inspect
from typing import Any, NamedTuple, get_args, get_type_hints

import torch
from small import real_batch

from nni_wcnas.options import OPTIONS
from nni_wcnas.tester import GAN

SMALL = {'image_size': 16, 'width': 8, 'latent': 6, 'dictionary_size': 5, 'embedding_size': 5}
"""Arguments of those kinds that have them."""

_CLASSES = [row for row in OPTIONS if row.axis == 'tester' and isinstance(row.factory, type)]
KINDS: dict[str, type[GAN]] = {row.name: row.factory for row in _CLASSES if issubclass(row.factory, GAN)}


class Variant(NamedTuple):
    """A kind, and an argument of its that changes its networks or what B is."""

    kind: str
    options: dict[str, Any]

    def __str__(self) -> str:
        return '-'.join([self.kind, *map(str, self.options.values())])

    def make(self, **options) -> GAN:
        """A tester of three classes, the same at each call."""
        torch.manual_seed(0)
        small = {name: value for name, value in SMALL.items() if name in arguments(self.kind)}
        return KINDS[self.kind](**{'num_classes': 3, **small, **self.options, **options})

    def exact(self) -> GAN:
        """In float64, after a few steps, so that what is learned without gradients has learned."""
        tester = self.make().double()
        tester.optimizers(1, learns_b=False)
        batch = real_batch()
        for _ in range(3):
            tester.adversary_step(batch._replace(clean=batch.clean.double()), update_generator=True)
        return tester


def arguments(kind: str) -> dict[str, inspect.Parameter]:
    """Of its constructor."""
    return dict(inspect.signature(KINDS[kind]).parameters)


def learns(kind: str) -> tuple[str, ...]:
    """What its B may be."""
    return get_args(get_type_hints(KINDS[kind].__init__).get('learns')) or ('discriminator',)


VARIANTS = [Variant(kind, {'learns': own}) for kind in KINDS if 'learns' in arguments(kind) for own in learns(kind)]
VARIANTS += [Variant(kind, {}) for kind in KINDS if 'learns' not in arguments(kind)]
VARIANTS += [Variant(kind, {'hierarchical': True}) for kind in KINDS if 'hierarchical' in arguments(kind)]
