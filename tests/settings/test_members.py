"""What a factory's signature says, whatever was done to its class before."""

from __future__ import annotations

import pickle

from nni_wcnas.data import Digits
from nni_wcnas.relaxation import Softmax
from nni_wcnas.settings.members import arguments_of


def test_unpickled_classes() -> None:
    """Unpickling an object replaces the functions of its class, whose globals then lack what only annotations name."""
    data = Digits(limit=120, batch_size=30)
    pickle.loads(pickle.dumps(data))
    assert 'DataOptions' not in Digits.__wrapped__.__init__.__globals__
    arguments_of.cache_clear()
    assert {'batch_size', 'limit', 'seed'} <= arguments_of(Digits).keys()


def test_a_class_without_arguments() -> None:
    """It inherits its constructor."""
    assert arguments_of(type('Plain', (), {})) == {} and arguments_of(Softmax) == {}
