"""Hessian products and the largest eigenvalue, against whole Hessians."""

import numpy as np
import pytest
import torch

from nni_wcnas.errors import DivergedError
from nni_wcnas.functional.eigenvalue import hessian_product, largest_eigenvalue


def test_against_the_whole_hessian():
    """Of a small network's loss by two of its three tensors, and of one that plays no part."""
    torch.manual_seed(0)
    x, y = torch.randn(20, 5, dtype=torch.float64), torch.randint(3, (20,))
    first, second, absent = (torch.randn(*shape, dtype=torch.float64) for shape in ((5, 4), (4, 3), (2,)))

    def loss(flat):
        return torch.nn.functional.cross_entropy((x @ flat[:20].view(5, 4)).tanh() @ flat[20:32].view(4, 3), y)

    parameters = {name: p.requires_grad_() for name, p in {'a': first, 'b': second, 'c': absent}.items()}
    value = torch.nn.functional.cross_entropy((x @ first).tanh() @ second, y)
    product, size = hessian_product(value, parameters)
    flat = torch.cat([p.detach().flatten() for p in parameters.values()])
    whole = torch.autograd.functional.hessian(loss, flat).numpy()
    vector = np.random.default_rng(0).standard_normal(size)
    np.testing.assert_allclose(product(vector), whole @ vector, atol=1e-12)
    assert largest_eigenvalue(product, size) == pytest.approx(np.linalg.eigvalsh(whole)[-1], rel=1e-4)


@pytest.mark.parametrize('size', [1, 2, 3, 40])
@pytest.mark.parametrize('scale', [0.0, 1e-6, 1.0, -3.0])
def test_largest_in_sign_and_not_in_size(size, scale):
    values = np.linspace(-5, 2, size) * scale
    basis = np.linalg.qr(np.random.default_rng(1).standard_normal((size, size)))[0]
    matrix = basis * values @ basis.T
    found = largest_eigenvalue(lambda vector: matrix @ vector, size)
    assert found == pytest.approx(values.max(), rel=1e-3, abs=1e-12)


def test_divergence_is_said():
    with pytest.raises(DivergedError, match='not finite: the search diverged'):
        largest_eigenvalue(lambda vector: vector * np.nan, 4)
