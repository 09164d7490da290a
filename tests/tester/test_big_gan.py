"""BigGAN: its hierarchical form, its regularisation, and a discriminator whose architecture is B."""

from __future__ import annotations

import pytest
import torch
from small import changed, real_batch, snapshot
from torch.nn import functional as F
from worst_case_search import run

from nni_wcnas import Search, Unrolled, WorstCase
from nni_wcnas.contracts import Noise
from nni_wcnas.functional.frozen import frozen_statistics
from nni_wcnas.functional.orthogonality import orthogonality
from nni_wcnas.tester import FQGAN, SNGAN, BigGAN
from nni_wcnas.tester.mixed_trunk import ARCHITECTURE, _mixed

SMALL = {'image_size': 16, 'width': 4}


def make(kind=BigGAN, **options):
    torch.manual_seed(0)
    return kind(3, **{**SMALL, **options})


def test_each_block_has_a_part_of_the_latent_of_its_own():
    tester = make(hierarchical=True, latent=12)
    noise = tester.noise(2)
    images = tester.generate(noise)
    for part in range(3):
        latent = noise.latent.clone()
        latent[0, 4 * part: 4 * (part + 1)] += 1
        assert not torch.equal(tester.generate(Noise(latent, noise.labels))[0], images[0])
    norms = tester.generator.blocks[1].norm1
    assert norms.gain.in_features == 128 + 4
    with pytest.raises(ValueError, match='latent=13 is not 3 equal parts, of which images of 16'):
        make(hierarchical=True, latent=13)


def test_defaults_of_the_forms():
    flat, hierarchical = make(), make(hierarchical=True)
    assert (flat.latent, flat.settings()['orthogonal']) == (128, 0.0)
    assert (hierarchical.latent, hierarchical.settings()['orthogonal']) == (120, 1e-4)


@pytest.mark.parametrize('hierarchical', [False, True])
def test_regularisation_is_part_of_the_generators_loss(hierarchical):
    """In look-ahead and training alike, of all kernels but the shared embedding."""
    plain, tester = (make(hierarchical=hierarchical, orthogonal=weight) for weight in (0.0, 0.3))
    noise = plain.noise(4)
    kernels = [value for name, value in tester.generator_parameters().items()
               if value.ndim > 1 and name != 'shared.weight']
    expected = 0.3 * orthogonality(kernels)
    difference = tester.generation_loss(noise)[0] - plain.generation_loss(noise)[0]
    torch.testing.assert_close(difference, expected)
    for own in (plain, tester):
        own.train_generator(4, torch.optim.SGD(own.generator.parameters(), 0.01), noise=noise)
    names = {name for name in changed(tester, snapshot(plain)) if name.startswith('generator.')}
    assert not any('shared' in name for name in names)
    assert any('to_image' in name for name in names)


def test_both_networks_of_big_gan_and_one_of_sn_gan_have_spectral_normalisation():
    for kind, expected in ((BigGAN, True), (SNGAN, False), (FQGAN, False)):
        tester = make(kind)
        assert any('parametrizations' in name for name in tester.discriminator_parameters())
        assert any('parametrizations' in name for name in tester.generator_parameters()) == expected
    assert make(SNGAN, width=8).trunk.width == 4


@pytest.mark.parametrize(('operation', 'expected'), [(0, 'block'), (1, 'shortcut'), (2, 'attention')])
def test_a_mixture_of_one_operation_is_that_operation(operation, expected):
    tester = make(learns='architecture')
    trunk = tester.trunk
    with torch.no_grad():
        trunk.logits[:, operation] = 100.0
    features = torch.randn(2, 4, 16, 16)
    block, attention = trunk.blocks[1], trunk.attentions[0]
    with frozen_statistics(trunk):
        rest = block.shortcut(features)
        wanted = {
            'block': lambda: block(features),
            'shortcut': lambda: F.avg_pool2d(rest, 2) if block.halve else rest,
            'attention': lambda: F.avg_pool2d(rest + attention(features), 2) if block.halve else rest +
            attention(features),
        }[expected]()
        found = _mixed(block, attention, trunk.logits.softmax(1)[0], features)
    torch.testing.assert_close(found, wanted)


def test_attention_is_a_weighted_mean_over_pixels():
    """Against a loop over query pixels."""
    tester = make(learns='architecture', width=8).double()
    attention, features = tester.trunk.attentions[0], torch.randn(1, 8, 4, 4, dtype=torch.float64)
    with frozen_statistics(attention):
        found = attention(features)
        query, key, value = (getattr(attention, name)(features) for name in ('query', 'key', 'value'))
        key, value = (F.max_pool2d(map_, 2).flatten(2)[0] for map_ in (key, value))
        mixed = torch.stack([value @ (key.T @ query[0, :, row, column]).softmax(0)
                             for row in range(4) for column in range(4)], dim=1)
        expected = attention.output(mixed.view(1, 4, 4, 4))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(('kind', 'options', 'names'), [
    (FQGAN, {}, {'b1', 'b2'}), (FQGAN, {'learns': 'discriminator'}, None), (SNGAN, {}, None), (BigGAN, {}, None),
    (BigGAN, {'learns': 'architecture'}, {ARCHITECTURE}),
])
def test_b_and_who_plays(kind, options, names):
    """A discriminator that is B plays no game, unless nobody learns B; an architecture never does."""
    tester = make(kind, **options)
    is_discriminator = names is None
    assert set(tester.hyperparameters()) == (names or set(tester.discriminator_parameters()))
    for learns_b in (True, False):
        before = snapshot(tester)
        plays = not (is_discriminator and learns_b)
        assert [named.name for named in tester.optimizers(2, learns_b=learns_b)][1:] == ['discriminator'] * plays
        losses = tester.adversary_step(real_batch(), update_generator=False)
        assert ('discriminator' in losses) == plays
        moved = {name.removeprefix('discriminator.') for name in changed(tester, before)}
        assert bool(moved & set(tester.discriminator_parameters())) == plays
        assert ARCHITECTURE not in moved
    values = tester.values()
    if is_discriminator:
        parameters = torch.cat([value.detach().flatten() for value in tester.hyperparameters().values()])
        assert values == pytest.approx({'discriminator_norm': parameters.norm().item()})
    elif names == {ARCHITECTURE}:
        assert values == pytest.approx(dict.fromkeys(('convolution', 'skip', 'attention'), 1 / 3))


@pytest.mark.parametrize(('rate', 'moves'), [(1e-3, True), (1e-30, False)])
def test_in_a_worst_case_search_a_discriminator_that_is_b_moves_by_the_searchs_ascent_alone(rate, moves):
    """It has no optimiser of its own."""
    search = run(Search(objective=WorstCase(every=1, hyperparameter_lr=rate), hypergradient=Unrolled()),
                 tester=ten_classes(), limit=32)
    names = [type(own.optimizer).__name__ for own in search.oneshot_module.optimizers()]
    assert names == ['SGD', 'SGD', 'SGD', 'Adam', 'Adam'], 'W, G, V, B and A'
    start = snapshot(ten_classes().discriminator)
    learned = {name for name, _ in search.tester.discriminator.named_parameters()}
    state = search.tester.discriminator.state_dict()
    moved = {name for name in learned if (state[name] - start[name]).abs().max() > 1e-9}
    assert bool(moved) == moves


def ten_classes():
    """The same at each call."""
    torch.manual_seed(3)
    return SNGAN(10, image_size=16, width=4, latent=8)


@pytest.mark.parametrize(('kind', 'options', 'sentence'), [
    (BigGAN, {'learns': 'hyperparameters'},
     "learns must be 'discriminator' or 'architecture', not 'hyperparameters'"),
    (FQGAN, {'learns': 'architecture'},
     "learns must be 'hyperparameters' or 'discriminator', not 'architecture'"),
    (BigGAN, {'orthogonal': -1.0}, 'orthogonal must be 0 or more and finite, not -1.0'),
    (SNGAN, {'image_size': 28}, 'image_size=28 is not one of'),
    (SNGAN, {'width': 0}, 'width must be at least 1'),
])
def test_impossible_arguments(kind, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        make(kind, **options)


def test_a_file_of_another_kind_is_refused(tmp_path):
    path = tmp_path / 'tester.pt'
    make(SNGAN).save(path)
    with pytest.raises(ValueError, match='holds a tester of kind SNGAN, but BigGAN was asked for; choose SNGAN'):
        make(BigGAN, pretrained=path)
