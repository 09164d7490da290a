import pytest
from torch import nn

from nni_wcnas.functional.evaluation_mode import evaluation_mode


def test_each_part_is_put_back_after_an_error():
    network = nn.Sequential(nn.BatchNorm1d(2).eval(), nn.Sequential(nn.Dropout()))
    modes = [part.training for part in network.modules()]
    with pytest.raises(KeyError), evaluation_mode(network):
        assert not any(part.training for part in network.modules())
        raise KeyError
    assert [part.training for part in network.modules()] == modes == [True, False, True, True]
