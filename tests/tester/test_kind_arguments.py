"""Every argument of every kind of GAN in the registry does something, where its row says and nowhere else."""

from __future__ import annotations

import functools

import pytest
import torch
from kinds import KINDS, Variant, arguments
from small import changed, epoch, real_batch, snapshot

from nni_wcnas.tester import pretrain

every_kind = pytest.mark.parametrize('kind', KINDS)

STRUCTURE = {
    'num_classes': (4, {'generator', 'average', 'discriminator'}),
    'image_size': (32, {'generator', 'average', 'discriminator'}),
    'width': (6, {'generator', 'average', 'discriminator'}),
    'latent': (9, {'generator', 'average'}),
    'hierarchical': (True, {'generator', 'average'}),
    'dictionary_size': (7, {'discriminator'}),
    'embedding_size': (7, {'discriminator'}),
    'feed_quantized': (True, set()),
}
"""Another value, and the parts whose state has other shapes with it; files with one are refused without it."""

NETWORKS = {'generator', 'average', 'discriminator'}

TRAINING = {
    'generator_lr': (0.01, 1, {'generator', 'average'}),
    'generator_weight_decay': (0.1, 1, {'generator', 'average'}),
    'generator_momentum': (0.0, 2, {'generator', 'average'}),
    'generator_gradient_clip_val': (0.01, 1, {'generator', 'average'}),
    'min_lr': (5e-4, 2, {'generator', 'average'}),
    'discriminator_lr': (1e-3, 1, NETWORKS),
    'feed_quantized': (True, 1, NETWORKS),
    'orthogonal': (1.0, 1, {'generator', 'average'}),
    'momentum': (0.3, 1, NETWORKS | {'B'}),
    'weight': (3.0, 1, NETWORKS | {'B'}),
    'temperature': (0.5, 1, NETWORKS | {'B'}),
    'r1_gamma': (10.0, 1, NETWORKS),
}
"""Another value, steps of a search in which the discriminator plays, and the parts that end elsewhere with it."""

PRETRAINING = {'ema_decay': 0.5, 'ema_start': 2}
"""Another value of what acts in pre-training; in a search the average is a copy."""

ELSEWHERE = {'learns', 'pretrained', 'ada_target', 'ada_speed'}
"""Tested in test_kinds.py, or with their kind."""

ROWS = [(kind, name) for kind in KINDS for name in arguments(kind)]


def _rows(table):
    return [pytest.param(*row, id='-'.join(row)) for row in ROWS if row[1] in table]


def _parts(names: set[str]) -> set[str]:
    return {'B' if name in ('b1', 'b2') else name.split('.')[0] for name in names}


@every_kind
def test_every_argument_has_a_row(kind):
    assert arguments(kind).keys() <= STRUCTURE.keys() | TRAINING.keys() | PRETRAINING.keys() | ELSEWHERE


@pytest.mark.parametrize(('kind', 'name'), _rows(STRUCTURE))
def test_structure_changes_shapes_and_is_refused_in_a_file(kind, name, tmp_path):
    value, expected = STRUCTURE[name]
    plain, other = Variant(kind, {}).make(), Variant(kind, {}).make(**{name: value})
    shapes, others = ({key: own.shape for key, own in tester.state_dict().items()} for tester in (plain, other))
    assert _parts({key for key in shapes | others if shapes.get(key) != others.get(key)}) == expected
    plain.save(tmp_path / 'tester.pt')
    with pytest.raises(ValueError, match=f'was made with {name}='):
        Variant(kind, {}).make(**{name: value}, pretrained=tmp_path / 'tester.pt')


@pytest.mark.parametrize(('kind', 'name'), _rows(TRAINING))
def test_training_argument_acts_where_it_should(kind, name):
    value, steps, expected = TRAINING[name]

    assert _parts(changed(_searched(kind, steps, **{name: value}), snapshot(_baseline(kind, steps)))) == expected


@functools.cache
def _baseline(kind: str, steps: int):
    return _searched(kind, steps)


def _searched(kind: str, steps: int, **options):
    tester = Variant(kind, {}).make(**options)
    generator, *_ = tester.optimizers(1, learns_b=False)
    torch.manual_seed(1)
    for _ in range(steps):
        tester.adversary_step(real_batch(), update_generator=True)
        generator.scheduler.step()
    return tester


@every_kind
def test_pretraining_arguments_act_on_the_average_alone(kind):
    def after(**options):
        tester = Variant(kind, {}).make(**{'ema_start': 1, **options})
        torch.manual_seed(1)
        pretrain(tester, None, epoch, 3, discriminator_steps=1, progress=False)
        return tester

    baseline = snapshot(after())
    for name, value in PRETRAINING.items():
        assert _parts(changed(after(**{name: value}), baseline)) == {'average'}


@pytest.mark.parametrize('options', [
    {'image_size': 28}, {'num_classes': 0}, {'width': 0}, {'latent': 0}, {'ema_decay': 1.5}, {'ema_start': -1},
    {'generator_lr': 1e-5}, {'generator_momentum': 1.0}, {'generator_weight_decay': -1.0}, {'discriminator_lr': 0.0},
    {'generator_gradient_clip_val': 0.0},
], ids=str)
@every_kind
def test_values_out_of_range_are_refused(kind, options):
    with pytest.raises(ValueError, match=next(iter(options)).removeprefix('generator_').split('_')[0]):
        Variant(kind, {}).make(**options)
