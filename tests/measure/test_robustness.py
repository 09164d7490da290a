"""Errors under attack against counts by hand; the attacked network stays as it was."""

import copy
import sys

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nni_wcnas.contracts import Batch
from nni_wcnas.data import Digits
from nni_wcnas.data.augmentation import normalise
from nni_wcnas.data.seeding import derive_generator
from nni_wcnas.functional.attacks import adversarial_examples, carlini_wagner, fgsm, pgd
from nni_wcnas.functional.evaluation_mode import evaluation_mode
from nni_wcnas.measure.attack import attack_curve, attack_errors, on_pixels
from nni_wcnas.measure.autoattack import autoattack

CARLINI_WAGNER = {'searches': 6, 'steps': 100, 'initial_weight': 0.1}


@pytest.fixture(scope='module')
def data():
    return Digits()


@pytest.fixture(scope='module')
def network(data):
    """A few steps of training, in training mode, with parts that act in that mode only."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = [nn.AvgPool2d(2), nn.Flatten(), nn.Linear(192, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout()]
        made = nn.Sequential(*layers, nn.Linear(32, 10))
        optimizer = torch.optim.AdamW(made.parameters(), 0.02)
        batch = data.examples('train', 100)
        for _ in range(60):
            optimizer.zero_grad(set_to_none=True)
            F.cross_entropy(made(batch.images), batch.labels).backward()
            optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return made


def victim(network, data, per_class):
    """The attacked model, with pixels and labels."""
    batch = data.examples('test', per_class)
    model = on_pixels(copy.deepcopy(network).eval(), data.mean, data.std)
    return model, (batch.clean + 1) / 2, batch.labels


def share_wrong(model, pixels, labels):
    return (model(pixels).argmax(1) != labels).double().mean().item()


def test_counts_by_hand(network, data):
    found = attack_errors(network, data, ('fgsm', 'pgd_3', 'cw_l2'), limit=59, seed=3)
    model, pixels, labels = victim(network, data, 5)
    assert torch.equal(labels, torch.arange(10).repeat_interleave(5))
    random = derive_generator(3, 'attack')
    nearest = carlini_wagner(model, pixels, labels, **CARLINI_WAGNER)
    distances = (nearest - pixels).flatten(1).norm(dim=1)
    expected = {
        'error_before_attacks': share_wrong(model, pixels, labels),
        'attacked_examples': 50,
        'error_fgsm': share_wrong(model, fgsm(model, pixels, labels), labels),
        'error_pgd_3': share_wrong(model, pgd(model, pixels, labels, steps=3, generator=random), labels),
        'error_cw_l2': share_wrong(model, nearest, labels),
        'error_cw_l2_within_0.5': (distances <= 0.5).double().mean().item(),
        'distance_cw_l2': distances.median().item(),
    }
    assert found == pytest.approx(expected)
    assert list(found) == list(expected)
    assert 0 < found['error_before_attacks'] < found['error_fgsm'] < found['error_cw_l2'] == 1
    assert found['error_before_attacks'] < found['error_cw_l2_within_0.5'] < 1


def test_the_test_set_is_clean_and_whole_without_limit(network, data):
    found = attack_errors(network, data, (), limit=None)
    assert found['attacked_examples'] == len(data.test_indices)
    with torch.no_grad(), evaluation_mode(network):
        wrong = [network(batch.images).argmax(1) != batch.labels for batch in data.test_dataloader()]
    assert found['error_before_attacks'] == pytest.approx(torch.cat(wrong).double().mean().item())


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_the_network_stays_as_it_was(network, data, dtype):
    """Parts in training mode, a parameter without gradient, half precision: nothing moves, and nothing of it counts."""
    attacked = copy.deepcopy(network).to(dtype)
    attacked[3].eval()
    attacked[2].bias.requires_grad_(False)
    modes, learnt = [part.training for part in attacked.modules()], [p.requires_grad for p in attacked.parameters()]
    before, state = copy.deepcopy(attacked.state_dict()), torch.get_rng_state()
    found = attack_errors(attacked, data, ('fgsm', 'pgd_2'), limit=50)
    assert [part.training for part in attacked.modules()] == modes
    assert [p.requires_grad for p in attacked.parameters()] == learnt
    assert all(p.grad is None for p in attacked.parameters())
    assert all(value.dtype == before[name].dtype for name, value in attacked.state_dict().items())
    assert all(torch.equal(value, before[name]) for name, value in attacked.state_dict().items())
    assert torch.get_rng_state().equal(state)
    assert attack_errors(attacked.float().eval(), data, ('fgsm', 'pgd_2'), limit=50) == found


def test_each_option_acts_where_it_says(network, data):
    def errors(names=('fgsm', 'pgd_1'), epsilon=0.1, seed=0):
        return attack_errors(network, data, names, limit=None, epsilon=epsilon, seed=seed)

    def changed(**options):
        found = errors(**options)
        return {name for name in base if found[name] != base[name]}

    base = errors()
    assert not changed()
    assert changed(epsilon=0.05) == {'error_fgsm', 'error_pgd_1'}
    assert changed(seed=1) == {'error_pgd_1'}
    assert errors(('fgsm',)) == {name: value for name, value in base.items() if name != 'error_pgd_1'}


def test_progress(network, data, capsys):
    attack_errors(network, data, ('fgsm',), limit=20)
    assert not capsys.readouterr().err
    attack_errors(network, data, ('fgsm',), limit=20, progress=True)
    assert 'fgsm: 100%' in capsys.readouterr().err


def test_curve(network, data):
    found = attack_curve(network, data, [0, 2 / 255, 8 / 255, 0.1], steps=5, limit=100, seed=2)
    assert list(found) == [f'error_pgd_5_at_{epsilon}' for epsilon in ('0', '2', '8', '25.5')]
    assert list(found.values()) == sorted(found.values())
    single = attack_errors(network, data, ('pgd_5',), limit=100, seed=2)
    assert found['error_pgd_5_at_0'] == single['error_before_attacks']
    assert found['error_pgd_5_at_8'] == single['error_pgd_5'] > found['error_pgd_5_at_2']
    longer = attack_curve(network, data, [8 / 255], steps=6, limit=100, seed=2)
    assert list(longer) == ['error_pgd_6_at_8']
    other = [attack_curve(network, data, [0.1], steps=1, limit=None, seed=seed) for seed in (0, 1)]
    assert other[0] != other[1]


class Brightness:
    """Images whose brightness tells their class."""

    mean, std, num_classes = (0.1, 0.2, 0.3), (0.5, 0.6, 0.7), 4

    def examples(self, part, per_class):
        assert part == 'test'
        labels = torch.arange(4).repeat_interleave(per_class)
        clean = ((labels + 0.5) / 4 * 2 - 1)[:, None, None, None].expand(-1, 3, 4, 4).contiguous()
        return Batch(normalise((clean + 1) / 2, self.mean, self.std), labels, None, clean)


class Rounded(nn.Module):
    """Sees the class, and nothing smaller: its gradient is zero everywhere."""

    def forward(self, images):
        pixels = on_pixels(nn.Identity(), Brightness.mean, Brightness.std).pixels(images)
        seen = (pixels.mean((1, 2, 3)) * 4 - 0.5).round()
        return -(torch.arange(4.0) - seen[:, None]).abs()


def test_what_withstands_has_no_distance():
    found = attack_errors(Rounded(), Brightness(), limit=12)
    assert found == {
        'error_before_attacks': 0, 'attacked_examples': 12, 'error_fgsm': 0, 'error_pgd_10': 0, 'error_pgd_20': 0,
        'error_pgd_100': 0, 'error_cw_l2': 0, 'error_cw_l2_within_0.5': 0,
    }


def test_normalisation_is_inside(data):
    pixels = torch.rand(2, 3, 4, 4)
    inside = on_pixels(nn.Flatten(), (0.1, 0.2, 0.3), (0.5, 0.6, 0.7))
    expected = (pixels - torch.tensor([0.1, 0.2, 0.3])[:, None, None]) / torch.tensor([0.5, 0.6, 0.7])[:, None, None]
    torch.testing.assert_close(inside(pixels), expected.flatten(1))
    torch.testing.assert_close(inside.pixels(expected), pixels)
    assert inside.pixels(expected * 100).max() <= 1, 'rounding does not leave the range'
    shared = on_pixels(network := nn.Sequential(nn.Flatten()), data.mean, data.std)
    assert shared.network is network and network.training


@pytest.mark.parametrize('name', ['pgd', 'pgd_0', 'pgd_1.5', 'deepfool', ''])
def test_no_such_attack(network, data, name):
    with pytest.raises(ValueError, match=f"There is no attack '{name}': use 'fgsm', 'pgd_N' with N steps"):
        attack_errors(network, data, ('fgsm', name))


def test_numbers_out_of_range(network, data):
    with pytest.raises(ValueError, match='limit=9 is less than one example of each of the 10 classes: give at least'):
        attack_errors(network, data, limit=9)
    with pytest.raises(ValueError, match='epsilon must be above 0 and finite, not 0'):
        attack_errors(network, data, limit=10, epsilon=0)
    with pytest.raises(ValueError, match='each epsilon must be 0 or more and finite, not -1'):
        attack_curve(network, data, [0.1, -1], limit=10)
    with pytest.raises(ValueError, match='steps must be at least 1, not 0'):
        attack_curve(network, data, [0.1], steps=0, limit=10)


def test_autoattack_is_a_package_of_its_own(network, data, monkeypatch):
    monkeypatch.setitem(sys.modules, 'pyautoattack', None)
    with pytest.raises(ModuleNotFoundError, match='run pip install pyautoattack'):
        attack_errors(network, data, ('autoattack',), limit=10)
    model, pixels, labels = victim(network, data, 1)
    with pytest.raises(ModuleNotFoundError, match='run pip install pyautoattack'):
        autoattack(model, pixels, labels)


@pytest.mark.slow
def test_autoattack(network, data):
    pytest.importorskip('pyautoattack')
    state = torch.get_rng_state()
    found = attack_errors(network, data, ('pgd_20', 'autoattack'), limit=30, epsilon=4 / 255)
    assert torch.get_rng_state().equal(state)
    assert found['error_before_attacks'] < found['error_pgd_20'] <= found['error_autoattack'] < 1
    model, pixels, labels = victim(network, data, 3)
    attacked = autoattack(model, pixels, labels, epsilon=4 / 255)
    assert (attacked - pixels).abs().max() <= 4 / 255 + 1e-6
    withstood = model(attacked).argmax(1) == labels
    assert torch.equal(attacked[withstood], pixels[withstood])
    five, three = (nn.Sequential(model, nn.Linear(10, classes)).eval() for classes in (5, 3))
    autoattack(five, pixels[:4], five(pixels[:4]).argmax(1))
    with pytest.raises(ValueError, match='AutoAttack needs at least 4 classes, and there are 3: leave it out'):
        autoattack(three, pixels, labels)


def train(data, *, adversarially):
    """A small convolutional network; the recipe is that of the docstring of :func:`on_pixels`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = [nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2)]
        layers += [nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.AdaptiveAvgPool2d(4)]
        network = nn.Sequential(*layers, nn.Flatten(), nn.Linear(512, 10))
    optimizer = torch.optim.AdamW(network.parameters(), 0.01)
    model, generator = on_pixels(network, data.mean, data.std), torch.Generator().manual_seed(0)
    for epoch in range(8):
        data.set_epoch(epoch)
        for images, labels, *_ in data.full_train_dataloader():
            pixels = model.pixels(images)
            if adversarially:
                before = network[1].num_batches_tracked.item()
                with evaluation_mode(network):
                    pixels = adversarial_examples(model, pixels, labels, generator=generator)
                assert network.training and network[1].num_batches_tracked == before
            loss = F.cross_entropy(model(pixels), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return network


@pytest.mark.slow
def test_real_digits(data):
    """Stronger attacks find more errors, and training on attacked images leaves fewer."""
    names = ('fgsm', 'pgd_10', 'pgd_100')
    plain, robust = (
        list(attack_errors(train(data, adversarially=how), data, names, limit=None).values()) for how in (False, True)
    )
    for clean, _, *attacked in (plain, robust):
        assert [clean, *attacked] == sorted([clean, *attacked])
    assert plain[0] < 0.1 and plain[-1] > 0.3
    assert robust[-1] < 0.5 * plain[-1]
