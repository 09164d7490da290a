"""What the tests of this folder share."""

import pytest
import torch
from tiny_data import DARTS_V2, TinyData

from nni_wcnas.spaces.architecture import Architecture


@pytest.fixture(scope='session', autouse=True)
def _one_thread():
    """Tiny networks only lose by more, and bits depend on how many there are."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def architecture():
    return Architecture.from_genotype(DARTS_V2)


@pytest.fixture
def tiny():
    return TinyData
