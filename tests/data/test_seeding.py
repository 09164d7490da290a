"""Seeds are pure functions of their keys."""

import pytest

from nni_wcnas.data import derive_seed


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
