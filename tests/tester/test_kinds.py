"""What every kind of GAN in the registry keeps; a new row is tested without a line here."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from kinds import KINDS, VARIANTS, Variant, arguments, learns
from small import changed, epoch, parts, real_batch, snapshot
from worst_case_search import run

import nni_wcnas as wc
from nni_wcnas.contracts import Noise
from nni_wcnas.functional.hypergradient import gradient, implicit_product, inner_gradient, leaves, replayed
from nni_wcnas.tester import make_auxiliary, pretrain

every_variant = pytest.mark.parametrize('variant', VARIANTS, ids=str)
every_kind = pytest.mark.parametrize('kind', KINDS)


def _flat(tensors) -> torch.Tensor:
    return torch.cat([tensor.flatten() for tensor in tensors])


def _direction(parameters) -> dict[str, torch.Tensor]:
    """Random, of length 1."""
    drawn = {name: torch.randn_like(value) for name, value in parameters.items()}
    length = _flat(drawn.values()).norm()
    return {name: value / length for name, value in drawn.items()}


def _moved(parameters, direction, by: float) -> dict[str, torch.Tensor]:
    return {name: value.detach() + by * direction[name] for name, value in parameters.items()}


# -------------------------------------------------------------------------------------------------------------- images


@pytest.mark.parametrize('image_size', [16, 32, 64, 128])
@every_kind
def test_images_and_trunk_at_every_resolution(kind, image_size):
    tester = Variant(kind, {}).make(image_size=image_size)
    noise = tester.noise(2)
    images = tester.generate(noise)
    assert images.shape == (2, 3, image_size, image_size)
    assert images.abs().max() <= 1
    assert tester.trunk(images).shape == (2, tester.trunk.width)
    assert tester.generation_loss(noise)[0].isfinite()


@every_variant
def test_images_depend_on_latent_and_label(variant):
    tester = variant.exact().eval()
    latent = tester.noise(2).latent
    one, other = (tester.generate(Noise(latent, torch.tensor(labels))) for labels in ([0, 1], [0, 2]))
    torch.testing.assert_close(one[0], other[0])
    assert (one[1] - other[1]).abs().max() > 1e-6
    assert (one[0] - one[1]).abs().max() > 1e-6


@every_variant
def test_images_are_a_function_of_their_noise_and_the_trunk_sees_one_at_a_time(variant):
    tester = variant.make().eval()
    torch.manual_seed(3)
    noise = tester.noise(5)
    images = tester.generate(noise)
    torch.manual_seed(3)
    again = tester.noise(5)
    assert torch.equal(noise.latent, again.latent) and torch.equal(noise.labels, again.labels)
    assert torch.equal(images, tester.generate(again, tester.generator_parameters()))
    torch.testing.assert_close(tester.trunk(images)[:2], tester.trunk(images[:2]))


# --------------------------------------------------------------------------------------------- loss and its derivatives


@every_variant
def test_generation_loss_changes_nothing_and_leaves_no_gradient(variant):
    tester = variant.make()
    noise, before = tester.noise(4), snapshot(tester)
    generator, hyperparameters = leaves(tester.generator_parameters()), leaves(tester.hyperparameters())
    tester.generation_loss(noise, generator, hyperparameters)[0].backward()
    tester.realism(tester.generate(noise), noise.labels)
    tester.average(*noise)
    assert not changed(tester, before)
    assert all(parameter.grad is None for parameter in tester.parameters())
    assert all(value.grad is not None for value in [*generator.values(), *hyperparameters.values()])
    tester.generation_loss(noise)[0].backward()
    of_b = {id(value) for value in tester.hyperparameters().values()}
    assert all(value.grad is None for value in tester.discriminator.parameters() if id(value) not in of_b)


@every_variant
def test_statistics_make_the_loss_the_same_function(variant):
    tester = variant.exact()
    noise = tester.noise(4)
    loss, statistics = tester.generation_loss(noise)
    given = tester.generator_parameters(), tester.hyperparameters(), statistics
    assert torch.equal(loss, tester.generation_loss(noise, *given)[0])
    replay = replayed(tester.generation_loss, torch.device('cpu'))
    assert torch.equal(replay(noise)[0], replay(noise)[0])


@pytest.mark.parametrize('group', ['G', 'B'])
@every_variant
def test_derivative_against_a_central_difference(variant, group):
    tester = variant.exact()
    noise = tester.noise(4)
    live = tester.generator_parameters() if group == 'G' else tester.hyperparameters()
    loss, statistics = tester.generation_loss(noise)
    slopes, direction, step = gradient(loss, live), _direction(live), 1e-6

    def loss_at(shift: float) -> torch.Tensor:
        moved = _moved(live, direction, shift)
        given = (moved, None) if group == 'G' else (None, moved)
        return tester.generation_loss(noise, *given, statistics)[0]

    expected = _flat(slopes.values()) @ _flat(direction.values())
    assert expected != 0
    torch.testing.assert_close((loss_at(step) - loss_at(-step)) / (2 * step), expected, rtol=1e-5, atol=1e-8)


@every_variant
def test_mixed_derivative_by_finite_difference_equals_double_backward(variant):
    tester = variant.exact()
    noise = tester.noise(4)
    _, statistics = tester.generation_loss(noise)

    def loss(generator, hyperparameters):
        return tester.generation_loss(noise, generator, hyperparameters, statistics)[0]

    live, b = tester.generator_parameters(), tester.hyperparameters()
    vector = _direction(live)
    exact = _flat(implicit_product(loss, live, b, vector).values())
    difference = _flat(implicit_product(loss, live, b, vector, 'finite_difference', radius=1e-6).values())
    assert exact.abs().max() > 0
    assert (difference - exact).norm() < 1e-5 * exact.norm()


@every_variant
def test_the_first_evaluation_has_the_derivatives_of_those_with_its_statistics(variant):
    """An exact product takes no other."""
    tester = variant.exact()
    noise, evaluate = tester.noise(4), replayed(tester.generation_loss, torch.device('cpu'))
    _, statistics = evaluate(noise)
    live, b = tester.generator_parameters(), tester.hyperparameters()
    vector, inner = _direction(live), []
    for given in (None, statistics):
        inner.append(inner_gradient(lambda g, h, given=given: evaluate(noise, g, h, given)[0], live, b))
    assert torch.equal(inner[0].loss, inner[1].loss)
    pairs = [[_flat(part.gradients.values()) for part in inner], [_flat(p.product(vector).values()) for p in inner]]
    for first, later in pairs:
        assert later.abs().max() > 0
        torch.testing.assert_close(first, later, rtol=1e-11, atol=1e-14)


# ------------------------------------------------------------------------------------------------------------ training


@every_variant
def test_discriminator_step_changes_the_discriminator_only(variant):
    tester = variant.make()
    tester.optimizers(1, learns_b=False)
    before = snapshot(tester)
    losses = tester.adversary_step(real_batch(), update_generator=False)
    names = changed(tester, before)
    assert {name.split('.')[0] for name in names} == {'discriminator'}
    assert tester.discriminator_parameters().keys() <= {name.removeprefix('discriminator.') for name in names}
    assert all(loss.isfinite() and not loss.requires_grad for loss in losses.values())
    rest = [*tester.generator_parameters().values(), *tester.loss_hyperparameters().values()]
    assert all(value.grad is None for value in rest)


@every_variant
def test_generator_step_moves_no_parameter_of_the_discriminator_and_descends_its_loss(variant):
    tester = variant.make()
    tester.optimizers(1)
    noise, before = tester.noise(8), snapshot(tester)
    loss, statistics = tester.generation_loss(noise)
    live = tester.generator_parameters()
    ahead = {name: live[name].detach() - 1e-3 * own for name, own in gradient(loss, live).items()}
    assert tester.generation_loss(noise, ahead, None, statistics)[0] < loss
    tester.train_generator(4, tester._generator_optimizer)
    moved = changed(tester, before)
    assert parts(moved) <= {'generator', 'average', 'dictionary'}
    assert set(live) <= {name.removeprefix('generator.') for name in moved} | _unused(live)
    assert all(value.grad is None for value in tester.discriminator.parameters())


def _unused(generator) -> set[str]:
    """Biases before a batch norm, which takes them away, and classes' rows that a batch may lack."""
    return {name for name in generator if name.endswith(('bias', 'original0'))}


@every_kind
def test_learns_says_what_b_is(kind):
    for own in learns(kind):
        tester = Variant(kind, {'learns': own} if 'learns' in arguments(kind) else {}).make()
        names, b = [named.name for named in tester.optimizers(1)], tester.hyperparameters()
        assert names == (['generator'] if own == 'discriminator' else ['generator', 'discriminator'])
        if own == 'hyperparameters':
            assert set(tester.values()) < set(tester.settings()) and len(b) == len(tester.values())
        else:
            assert all(tester.discriminator.get_parameter(name) is value for name, value in b.items())
        assert [named.name for named in tester.optimizers(1, learns_b=False)] == ['generator', 'discriminator']
    if 'learns' in arguments(kind):
        with pytest.raises(ValueError, match="learns must be .*, not 'nothing'"):
            Variant(kind, {}).make(learns='nothing')




@every_variant
def test_a_worst_case_search_learns_b_the_generator_and_a_tied_auxiliary_model(variant):
    tester = variant.make(num_classes=10, ema_start=1)
    before = snapshot(tester)
    space = wc.spaces.DARTS(width=2, num_cells=3, num_nodes=1, operations=('max_pool_3x3', 'skip_connect'))
    strategy = run(wc.presets.wcnas(every=1), space=space, tester=tester, auxiliary='tied', limit_train_batches=2,
                   limit_val_batches=0)
    module = strategy.oneshot_module.training_module
    moved = changed(module.tester, before)
    assert all(value.isfinite().all() for value in module.tester.state_dict().values())
    b = {id(value) for value in module.tester.hyperparameters().values()}
    names = {name for name, value in module.tester.named_parameters() if id(value) in b}
    assert any('bias' not in name for name in names & moved)
    assert all(name.endswith('bias') for name in names - moved)  # Piecewise linear: no mixed derivative.
    assert 'generator' in parts(moved)
    assert len(next(strategy.list_models()).sample) > 0


@every_kind
def test_a_tied_auxiliary_model_learns_and_its_loss_is_differentiable_in_the_images(kind):
    tester = Variant(kind, {}).make()
    auxiliary = make_auxiliary('tied', tester)
    auxiliary.optimizers(1)
    before, noise = snapshot(tester), tester.noise(8)
    images = tester.generate(noise)
    assert auxiliary.train_step(images, noise.labels).isfinite()
    slopes = gradient(auxiliary.loss(images, noise.labels), tester.generator_parameters())
    assert any(value.abs().max() > 0 for value in slopes.values())
    assert not changed(tester, before)


@every_variant
def test_pretraining_resumes_bit_for_bit(variant, tmp_path):
    def pretrained(steps: int, seed: int, **options):
        tester = variant.make(ema_start=1)
        auxiliary = make_auxiliary('tied', tester)
        torch.manual_seed(seed)
        losses = pretrain(tester, auxiliary, epoch, steps, discriminator_steps=1, auxiliary_steps=1, progress=False,
                          **options)
        return tester, auxiliary, losses

    whole, auxiliary, losses = pretrained(3, 5, top_k=True, core_set=2)
    file = {'checkpoint': tmp_path / 'run.pt', 'top_k': True, 'core_set': 2}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(whole), 'train_generator', _dies_after(1, type(whole).train_generator))
        with pytest.raises(KeyboardInterrupt):
            pretrained(3, 5, checkpoint_every=1, **file)
    resumed, resumed_auxiliary, resumed_losses = pretrained(3, 77, resume=True, **file)
    assert resumed_losses == losses
    assert not changed(resumed, snapshot(whole))
    assert not changed(resumed_auxiliary, snapshot(auxiliary))


def _dies_after(steps: int, step):
    calls = []

    def dying(*given, **options):
        calls.append(given)
        if len(calls) > steps:
            raise KeyboardInterrupt
        return step(*given, **options)

    return dying


# --------------------------------------------------------------------------------------------------- copies and files


@every_variant
def test_copies_and_pickles_share_nothing(variant):
    tester = variant.exact().eval()
    noise = tester.noise(2)
    for other in (copy.deepcopy(tester), pickle.loads(pickle.dumps(tester))):
        assert not other.training and not changed(other, snapshot(tester))
        assert torch.equal(other.generate(noise), tester.generate(noise))
        before = snapshot(tester)
        other.float().train().optimizers(1, learns_b=False)
        other.adversary_step(real_batch(), update_generator=True)
        assert not changed(tester, before)


@every_variant
def test_files_hold_the_average_and_all_else_but_b(variant, tmp_path):
    tester = variant.make(ema_decay=0.5, ema_start=1)
    pretrain(tester, None, epoch, 3, discriminator_steps=1, progress=False)
    tester.save(tmp_path / 'tester.pt')
    contents = torch.load(tmp_path / 'tester.pt', weights_only=True)
    loaded = type(tester)(**contents['settings'], pretrained=tmp_path / 'tester.pt')
    averages = {f'generator.{name}': value for name, value in tester.average.module.state_dict().items()}
    learned = tester.loss_hyperparameters()
    close = {name for name, value in learned.items() if torch.allclose(value, loaded.get_parameter(name))}
    assert changed(loaded, {**snapshot(tester), **averages}) <= close
    assert loaded.settings() == pytest.approx(tester.settings())
    noise = loaded.noise(2)
    assert torch.equal(loaded.eval().generate(noise), tester.average(*noise))


@every_kind
def test_files_of_another_kind_are_refused(kind, tmp_path):
    other = next(name for name in KINDS if name != kind)
    Variant(other, {}).make().save(tmp_path / 'tester.pt')
    with pytest.raises(ValueError, match=f'holds a tester of kind {KINDS[other].__name__}, but {KINDS[kind].__name__}'):
        Variant(kind, {}).make(pretrained=tmp_path / 'tester.pt')
