"""Seeds are pure functions of their keys."""

import random

import numpy as np
import pytest
import torch

from nni_wcnas.data import derive_seed
from nni_wcnas.data.seeding import seeded_globals


def test_known_value_holds_on_every_machine():
    assert derive_seed(0, 'weights', 1, 2) == 7650511546933408339


def test_order_type_and_grouping_matter():
    keys = [(1, 2), (2, 1), ('1', 2), (12,), ('12',), (1, 2, 0), (), ('1, 2',)]
    assert len({derive_seed(*key) for key in keys}) == len(keys)


def test_range():
    assert all(0 <= derive_seed(key) < 2**63 for key in range(1000))


@pytest.mark.parametrize('key', [0.5, None, (1,)])
def test_other_keys_are_refused(key):
    with pytest.raises(TypeError, match='A seed key must be a string or an integer'):
        derive_seed(key)


def test_libraries_are_seeded_and_put_back():
    def draws():
        return random.random(), float(np.random.rand()), float(torch.rand(()))

    def drawn(*keys):
        with seeded_globals(*keys):
            return draws()

    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    assert drawn(0, 'a') == drawn(0, 'a') and not set(drawn(0, 'a')) & set(drawn(0, 'b'))
    with pytest.raises(KeyError), seeded_globals(1):
        draws()
        raise KeyError
    assert before == (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())
