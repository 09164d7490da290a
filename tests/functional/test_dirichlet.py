"""Samples, gradients and divergences against torch.distributions and integrals."""

import pytest
import torch
from torch.distributions import Dirichlet, kl_divergence

from nni_wcnas.functional.dirichlet import concentration, divergence_from_uniform, sampled

BETA = torch.tensor([[0.3, 1.0, 2.5, 0.7], [4.0, 0.05, 1.0, 9.0]], dtype=torch.float64)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_concentration_is_elu_plus_one_with_its_derivatives():
    alpha = torch.arange(-4, 4.1, 0.25, dtype=torch.float64).requires_grad_()  # zero is one of them
    assert (alpha == 0).any()
    mine, theirs = concentration(alpha), torch.nn.functional.elu(alpha) + 1
    torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-14)
    for output in (mine, theirs):
        output.sum().backward()
        torch.testing.assert_close(alpha.grad, alpha.detach().clamp(max=0).exp())
        alpha.grad = None


def test_concentration_stays_positive_in_single_precision():
    assert concentration(torch.tensor([-40.0])).item() == pytest.approx(4.248354e-18)
    assert concentration(torch.tensor([-torch.inf])).item() == 0


def test_divergence_against_torch_with_its_gradient():
    mine, theirs = (BETA.clone().requires_grad_() for _ in range(2))
    found = divergence_from_uniform(mine)
    expected = kl_divergence(Dirichlet(theirs), Dirichlet(torch.ones_like(theirs)))
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    assert (found > 0.1).all()
    (found * torch.tensor([1.0, -3.0])).sum().backward()
    (expected * torch.tensor([1.0, -3.0])).sum().backward()
    torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-11, atol=1e-12)


def test_divergence_counts_what_was_not_pruned():
    beta = torch.tensor([[0.3, 0.0, 2.5, 0.7], [0.0, 0.0, 3.0, 0.0]], dtype=torch.float64, requires_grad=True)
    found = divergence_from_uniform(beta)
    expected = kl_divergence(Dirichlet(beta.detach()[0, [0, 2, 3]]), Dirichlet(torch.ones(3, dtype=torch.float64)))
    assert found.tolist() == pytest.approx([expected.item(), 0.0], abs=1e-12)
    found.sum().backward()
    assert beta.grad.isfinite().all() and not beta.grad[beta == 0].any() and beta.grad[0, [0, 2, 3]].all()


@pytest.mark.parametrize('kept', [[0, 1, 2, 3], [0, 2, 3]], ids=['all', 'pruned'])
def test_moments_of_samples(kept):
    beta = torch.zeros_like(BETA).index_copy(1, torch.tensor(kept), BETA[:, kept])
    samples = sampled(beta.repeat(100_000, 1), generator()).view(-1, *BETA.shape)
    torch.testing.assert_close(samples.sum(-1), torch.ones(100_000, 2, dtype=torch.float64), rtol=0, atol=1e-14)
    expected = Dirichlet(BETA[:, kept])
    torch.testing.assert_close(samples.mean(0)[:, kept], expected.mean, rtol=0, atol=4e-3)
    torch.testing.assert_close(samples.var(0)[:, kept], expected.variance, rtol=0.03, atol=1e-4)
    assert not samples[..., [k for k in range(4) if k not in kept]].any()


def test_gradients_are_those_of_the_mean():
    """E[w_k] = beta_k / sum beta: the average pathwise gradient is its Jacobian, and so for E[w_k^2]."""
    for power in (1, 2):
        beta = BETA.clone().requires_grad_()
        samples = sampled(beta.repeat(200_000, 1), generator()).view(-1, *BETA.shape)
        for k in range(4):
            found = torch.autograd.grad(samples.mean(0)[:, k].pow(1).sum() if power == 1 else
                                        samples[..., k].square().mean(0).sum(), beta, retain_graph=True)[0]
            distribution = Dirichlet(beta)
            moment = distribution.mean if power == 1 else distribution.variance + distribution.mean.square()
            expected = torch.autograd.grad(moment[:, k].sum(), beta)[0]
            torch.testing.assert_close(found, expected, rtol=0.05, atol=3e-3)


def test_gradient_of_one_sample_is_that_of_the_inverse_distribution_function():
    """Each gamma variable moves with its parameter so that its distribution function stands still."""
    beta = BETA[0].clone()
    gammas = torch._standard_gamma(beta, generator=generator())

    def moved(k, step):
        """Solves P(beta_k + step, x) = P(beta_k, gamma_k) by bisection."""
        level, low, high = torch.special.gammainc(beta[k], gammas[k]), torch.zeros(()).double(), gammas[k] * 2
        for _ in range(80):
            middle = (low + high) / 2
            low, high = (middle, high) if torch.special.gammainc(beta[k] + step, middle) < level else (low, middle)
        return (low + high) / 2

    leaf = BETA[:1].clone().requires_grad_()
    for k in range(4):
        steps = [gammas.clone(), gammas.clone()]
        for values, step in zip(steps, (1e-5, -1e-5)):
            values[k] = moved(k, step)
        expected = (steps[0] / steps[0].sum() - steps[1] / steps[1].sum()) / 2e-5
        for j in range(4):
            found = torch.autograd.grad(sampled(leaf, generator())[0, j], leaf)[0][0, k]
            assert found.item() == pytest.approx(expected[j].item(), rel=2e-3, abs=1e-6)


def test_tiny_concentrations_give_one_hot_rows_without_nan():
    alpha = torch.full((500, 8), -5.0, requires_grad=True)
    samples = sampled(concentration(alpha), generator())
    assert (samples.max(-1).values > 0.99).float().mean() > 0.75
    assert samples.argmax(-1).bincount(minlength=8).min() > 30, 'each operation has its chance'
    (samples * torch.randn(500, 8, generator=generator(1))).sum().backward()
    assert alpha.grad.isfinite().all()


def test_all_that_underflows_still_has_finite_gradients():
    alpha = torch.full((50, 4), -60.0, dtype=torch.float64, requires_grad=True)
    samples = sampled(concentration(alpha), generator())
    (samples * 1e9).square().sum().backward()
    assert samples.isfinite().all() and alpha.grad.isfinite().all()


def test_there_is_no_second_derivative():
    beta = BETA.clone().requires_grad_()
    (first,) = torch.autograd.grad(sampled(beta, generator())[:, 0].sum(), beta, create_graph=True)
    with pytest.raises(NotImplementedError, match='_standard_gamma_grad'):
        torch.autograd.grad(first.sum(), beta)
