from __future__ import annotations

import pytest
import torch


@pytest.fixture(scope='module', autouse=True)
def _one_thread():
    """Networks this small lose more to a second thread than they gain."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
