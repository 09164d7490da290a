"""Corruptions as a tester: gradient against a plain implementation, draws, table; it gets harder; a search."""

from __future__ import annotations

import json
import math
import pickle

import pytest
import torch

from nni_wcnas import Corruptions
from nni_wcnas.cli.search import open_run, search
from nni_wcnas.contracts import Batch, Noise
from nni_wcnas.data import Digits
from nni_wcnas.functional.corruptions import CORRUPTIONS, Chance
from nni_wcnas.settings import assembly
from nni_wcnas.settings.resolved import differing_key, resolved
from nni_wcnas.settings.settings import load_settings
from nni_wcnas.settings.trial import Trial
from nni_wcnas.tester import default_auxiliary, make_auxiliary, pretrain

COUNT = len(CORRUPTIONS)


def real(count=6, size=8, dtype=torch.float32) -> Batch:
    random = torch.Generator().manual_seed(0)
    clean = (torch.rand(count, 3, size, size, generator=random) * 2 - 1).to(dtype)
    return Batch(clean, torch.arange(count), None, clean)


def learned(seed=0, **options) -> Corruptions:
    """In the middle of its learning, in float64."""
    tester = Corruptions(10, image_size=8, **options).double()
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in tester.parameters():
            parameter.normal_()
    return tester


def plainly(tester: Corruptions, noise: Noise) -> torch.Tensor:
    """f(B, x), image by image: a hard one-hot vector with the gradient of the soft one."""
    draws, images = noise.latent, []
    for n in range(len(noise.labels)):
        x = (draws.images[n : n + 1] + 1) / 2
        soft = torch.softmax((tester.selection + draws.selection[n]) / tester.temperature, 0)
        hard = torch.nn.functional.one_hot(soft.argmax(), COUNT).double()
        k = int(soft.argmax())
        told = Chance(*(part[n : n + 1] for part in draws.chance))
        changed = CORRUPTIONS[k](x, tester.severity[k].sigmoid().view(1), told)
        images.append(2 * (x + (hard + soft - soft.detach())[k] * (changed - x)) - 1)
    return torch.cat(images)


def _hardness(images: torch.Tensor) -> torch.Tensor:
    """Some smooth function of images."""
    weights = torch.linspace(-1, 1, images[0].numel(), dtype=images.dtype).view_as(images[0])
    return ((images * weights).sum((1, 2, 3)).sin() + images.pow(3).mean((1, 2, 3))).sum()


@pytest.mark.parametrize('seed', range(3))
def test_images_and_gradient_are_those_of_a_plain_implementation(seed):
    tester = learned(seed, temperature=0.7)
    noise = tester.noise(60, real(60, dtype=torch.float64))
    images, expected = tester.generate(noise), plainly(tester, noise)
    torch.testing.assert_close(images, expected, rtol=0, atol=1e-12)
    ours, theirs = (torch.autograd.grad(_hardness(x), list(tester.parameters())) for x in (images, expected))
    for one, other in zip(ours, theirs):
        assert other.abs().max() > 1e-2
        torch.testing.assert_close(one, other, rtol=0, atol=1e-10)


def test_gradient_of_the_selection_in_closed_form():
    """All logits learn from one image: -<dL/dx, change> / temperature w_k w_j, and w_k (1 - w_k) for the chosen."""
    tester = learned(temperature=2.0)
    noise = tester.noise(1, real(1, dtype=torch.float64))
    images = tester.generate(noise)
    gradient = torch.autograd.grad(_hardness(images), tester.selection, retain_graph=True)[0]
    (by_images,) = torch.autograd.grad(_hardness(leaf := images.detach().requires_grad_()), leaf)
    weights = ((tester.selection + noise.latent.selection[0]) / 2.0).softmax(0).detach()
    chosen = weights.argmax()
    change = (by_images * (images - noise.latent.images)).sum()
    expected = change / 2.0 * weights[chosen] * (torch.nn.functional.one_hot(chosen, COUNT) - weights)
    torch.testing.assert_close(gradient, expected.detach())
    assert (gradient != 0).all()


def test_mixed_second_derivatives_are_exact():
    """d/dv of dL/dB, which an exact hypergradient takes, for every corruption at once."""
    tester = learned()
    with torch.no_grad():
        tester.selection.zero_()
    noise = tester.noise(200, real(200, dtype=torch.float64))
    chosen = (tester.selection + noise.latent.selection).argmax(-1)
    assert len(chosen.unique()) == COUNT
    v = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)

    def slope(v):
        loss = (v * tester.generate(noise)).sin().sum()
        return torch.cat(torch.autograd.grad(loss, list(tester.parameters()), create_graph=True))

    direction = torch.randn(COUNT * 2, dtype=torch.float64)
    (exact,) = torch.autograd.grad(slope(v) @ direction, v)
    difference = ((slope(v + 1e-5) - slope(v - 1e-5)) @ direction).detach() / 2e-5
    torch.testing.assert_close(exact, difference, rtol=1e-6, atol=0)


def test_noise_is_all_that_is_random_and_images_are_drawn_without_repetition():
    tester = learned().float()
    torch.manual_seed(3)
    noise = tester.noise(12, real())
    state = torch.get_rng_state()
    images = tester.generate(noise)
    assert torch.equal(torch.get_rng_state(), state) and torch.equal(images, tester.generate(noise))
    torch.manual_seed(3)
    assert torch.equal(images, tester.generate(tester.noise(12, real())))
    assert not torch.equal(images, tester.generate(tester.noise(12, real())))
    assert images.shape == (12, 3, 8, 8) and images.min() >= -1 - 1e-6 and images.max() <= 1 + 1e-6
    for count in (1, 6, 12, 15):
        noise = tester.noise(count, real())
        assert torch.equal(noise.latent.images, real().clean[noise.labels])
        seen = noise.labels.bincount(minlength=6)
        assert seen.max() - seen.min() <= 1


def test_temperature_acts_on_the_gradient_of_the_selection_alone():
    noise = learned().noise(20, real(20, dtype=torch.float64))
    one, other = learned(temperature=0.5), learned(temperature=1.5)
    first, second = one.generate(noise), other.generate(noise)
    assert torch.equal(first, second)
    gradients = [torch.autograd.grad(_hardness(x), list(t.parameters())) for t, x in ((one, first), (other, second))]
    assert [torch.equal(a, b) for a, b in zip(*gradients)] == [False, True]


def test_shares_are_those_of_the_draws():
    """Frequencies over many draws, within four standard deviations."""
    tester = Corruptions(10, image_size=3)
    with torch.no_grad():
        tester.selection[7] = math.log((COUNT - 1) / 2)
    torch.manual_seed(0)
    draws = tester.noise(20_000, real(5, size=3)).latent
    share = ((tester.selection + draws.selection).argmax(-1) == 7).float().mean().item()
    assert share == pytest.approx(1 / 3, abs=4 * math.sqrt(2 / 9 / 20_000))


def test_severities_of_nothing_leave_the_images():
    tester = Corruptions(10, image_size=8)
    with torch.no_grad():
        tester.severity.fill_(-100.0)
    noise = tester.noise(100, real())
    torch.testing.assert_close(tester.generate(noise), noise.latent.images, rtol=0, atol=1e-5)


def test_values_and_rows_sum_it_up():
    tester = Corruptions(10)
    assert tester.values() == pytest.approx(
        {'corruption_entropy': math.log(16), 'corruption_share': 1 / 16, 'corruption_severity': 0.5}
    )
    assert tester.hyperparameters().keys() == tester.generator_parameters().keys() == {'selection', 'severity'}
    assert tester.optimizers(3) == [] and tester.adversary_step(real(), update_generator=True) == {}
    with torch.no_grad():
        tester.selection[4], tester.severity[4] = 100.0, 2.0
    found = tester.values()
    assert found['corruption_entropy'] == pytest.approx(0, abs=1e-6) and found['corruption_share'] == pytest.approx(1)
    assert found['corruption_severity'] == pytest.approx(1 / (1 + math.exp(-2)))
    rows = tester.rows()
    assert [row['corruption'] for row in rows[:2]] == ['defocus_blur', 'gaussian_noise'] and len(rows) == 16
    assert rows[0] == pytest.approx({'share': 1.0, 'corruption': 'defocus_blur', 'severity': 0.8807970})


def test_pickles_and_computes_in_full_precision_under_autocast():
    tester = learned().float()
    noise = tester.noise(30, real())
    images = tester.generate(noise)
    assert torch.equal(pickle.loads(pickle.dumps(tester)).generate(noise), images)
    with torch.autocast('cpu', torch.bfloat16):
        assert torch.equal(tester.generate(noise), images)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'num_classes': 0}, 'num_classes must be at least 1'),
        ({'num_classes': 3, 'image_size': 2}, 'image_size must be at least 3 pixels, or 0 for any, not 2'),
        ({'num_classes': 3, 'temperature': 0.0}, 'temperature must be positive and finite, not 0.0'),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        Corruptions(**arguments)


def test_images_that_are_missing_or_of_another_size():
    tester = Corruptions(10, image_size=8)
    for source in (None, real()._replace(clean=None)):
        with pytest.raises(ValueError, match='Corruptions changes real images, and there are none: give it a batch'):
            tester.noise(4, source)
    with pytest.raises(ValueError, match=r'images of 8 pixels, and these have 9; use Corruptions\(image_size=9\)'):
        tester.noise(4, real(size=9))
    assert Corruptions(10, image_size=0).noise(4, real(size=9)).latent.images.shape == (4, 3, 9, 9)


def test_its_auxiliary_model_is_what_is_pretrained(tmp_path):
    assert default_auxiliary(Corruptions) == 'small_resnet'
    tester, file = Corruptions(10, image_size=16), tmp_path / 'v.pt'
    auxiliary = make_auxiliary('test_resnet', tester)
    data = Digits(batch_size=20, limit=80)
    pretrain(tester, auxiliary, lambda epoch: data.train_dataloader(), auxiliary_steps=3, checkpoint=file,
             progress=False)  # fmt: skip
    again = make_auxiliary('test_resnet', Corruptions(10, image_size=16, pretrained=file))
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in auxiliary.state_dict().items())
    with pytest.raises(ValueError, match='holds a tester of kind Corruptions'):
        from nni_wcnas import AugmentationPolicy

        AugmentationPolicy(10, image_size=16, pretrained=file)
    with pytest.raises(ValueError, match='was made with image_size=16, but image_size=32 was asked for'):
        Corruptions(10, image_size=32, pretrained=file)


def test_ascent_makes_images_harder_for_a_learner_that_stays():
    """A classifier trained on digits errs more on what the tester has learned to make, and it has its favourites."""
    torch.manual_seed(0)
    batch = next(iter(Digits(batch_size=400, limit=800).train_dataloader()))
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(768, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10))
    optimizer = torch.optim.Adam(net.parameters(), 0.01)
    for _ in range(60):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(net(batch.clean), batch.labels).backward()
        optimizer.step()
    tester = Corruptions(10, image_size=16)

    def loss(count=64):
        noise = tester.noise(count, batch)
        return torch.nn.functional.cross_entropy(net(tester.generate(noise)), noise.labels)

    def mean_loss():
        torch.manual_seed(1)
        with torch.no_grad():
            return torch.stack([loss(400) for _ in range(4)]).mean().item()

    before = mean_loss()
    ascent = torch.optim.Adam(tester.parameters(), 0.05, betas=(0.5, 0.999), maximize=True)
    for _ in range(60):
        ascent.zero_grad()
        loss().backward()
        ascent.step()
    after, found = mean_loss(), tester.values()
    assert after > 1.5 * before
    assert found['corruption_entropy'] < math.log(16) - 0.3 and found['corruption_severity'] > 0.6


# ------------------------------------------------------------------------------------------------------ settings files

TINY = """\
data: {name: digits, limit: 80, batch_size: 40}
space: {name: darts, width: 2, num_cells: 3, num_nodes: 2, operations: [max_pool_3x3, skip_connect, sep_conv_3x3]}
method: {preset: wcnas, every: 1}
search: {epochs: 1}
tester: {name: corruptions, temperature: 0.7}
auxiliary: test_resnet
directory: runs
"""


def test_a_search_from_a_settings_file_learns_and_writes_what_it_has_learned(tmp_path):
    path = tmp_path / 's.yml'
    path.write_text(TINY)
    found = load_settings(path)
    tester = assembly.make_tester(found, assembly.make_data(found))
    assert isinstance(tester, Corruptions) and (tester.temperature, tester.image_size) == (0.7, 16)
    trial = Trial(found)
    run = open_run(tmp_path / 'run', trial, resume=False)
    search(trial, run)
    last = run.read_history()[-1]
    assert {'loss_B', 'loss_V', 'loss_meaning', 'reference_error', *Corruptions(2).values()} <= {*last}
    rows = json.loads(run.policy.read_text())
    assert len(rows) == 16 and rows[0]['share'] == pytest.approx(last['corruption_share'])
    state = torch.load(run.checkpoint, weights_only=True)['state_dict']
    assert all(state[f'training_module.tester.{name}'].abs().max() > 0 for name in ('selection', 'severity'))
    assert differing_key(resolved(found), resolved(load_settings(run.settings))) is None
