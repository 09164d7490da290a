"""torch's global random state, kept and put back."""

import pytest
import torch

from nni_wcnas.functional.random_state import random_state, restore_random_state, untouched_random_state


def test_the_same_numbers_again():
    state = random_state()
    first = torch.rand(3)
    restore_random_state(state)
    assert torch.rand(3).equal(first)


def test_a_state_of_more_gpus_than_there_are():
    state = {**random_state(), 'cuda': [torch.get_rng_state()] * 9}
    # On a machine with GPUs their own states would be overwritten: nothing to see here then.
    if not torch.cuda.is_available():
        restore_random_state(state)


def test_untouched_after_an_error():
    before = torch.get_rng_state()
    with pytest.raises(RuntimeError), untouched_random_state(3):
        torch.rand(3)
        raise RuntimeError
    assert torch.get_rng_state().equal(before)


def test_seeded_and_going_on():
    torch.manual_seed(1)
    expected = torch.rand(2)
    torch.manual_seed(1)
    with untouched_random_state():
        assert torch.rand(2).equal(expected)
    with untouched_random_state(1):
        assert torch.rand(2).equal(expected)
    assert torch.rand(2).equal(expected)


@pytest.mark.gpu
def test_gpu():
    state = random_state()
    first = torch.rand(3, device='cuda')
    restore_random_state(state)
    with untouched_random_state(5):
        torch.rand(3, device='cuda')
    assert torch.rand(3, device='cuda').equal(first)
