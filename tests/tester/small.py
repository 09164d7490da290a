"""What the tester's tests share: testers that take milliseconds a step, and how to see what a step changed."""

from __future__ import annotations

import torch

from nni_wcnas.contracts import Batch
from nni_wcnas.tester import FQGAN

SMALL = {'image_size': 16, 'width': 4, 'latent': 6, 'dictionary_size': 5}


def small_tester(**options) -> FQGAN:
    """A tester of three classes, the same at each call."""
    torch.manual_seed(0)
    return FQGAN(3, **{**SMALL, **options})


def exact_tester() -> FQGAN:
    """In float64, after a few steps, so that the dictionaries have learned and the spectral norms have settled."""
    tester = small_tester().double()
    tester.optimizers(1)
    batch = real_batch()
    for _ in range(3):
        tester.adversary_step(batch._replace(clean=batch.clean.double()), update_generator=True)
    return tester


def real_batch(count: int = 4, seed: int = 0) -> Batch:
    """Random images in [-1, 1]."""
    random = torch.Generator().manual_seed(seed)
    clean = torch.rand(count, 3, 16, 16, generator=random) * 2 - 1
    return Batch(clean, torch.randint(3, (count,), generator=random), None, clean)


def epoch(number: int) -> list[Batch]:
    """Three batches, different in each epoch and shuffled by torch's global random state."""
    return [real_batch(seed=10 * number + int(index)) for index in torch.randperm(3)]


def snapshot(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """A copy of the state."""
    return {name: value.clone() for name, value in module.state_dict().items()}


def changed(module: torch.nn.Module, before: dict[str, torch.Tensor]) -> set[str]:
    """Names of the state that differs from a copy."""
    return {name for name, value in module.state_dict().items() if not torch.equal(value, before[name])}


def parts(names: set[str]) -> set[str]:
    """The parts of a tester that some names belong to."""
    return {'dictionary' if '.quantisers.' in name else name.split('.')[0] for name in names}
