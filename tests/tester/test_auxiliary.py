from __future__ import annotations

import pytest
import torch
from small import changed, exact_tester, real_batch, small_tester, snapshot

from nni_wcnas.functional.hypergradient import implicit_product
from nni_wcnas.tester import AugmentationPolicy, TiedAuxiliary, TimmAuxiliary, make_auxiliary


def _models():
    tester = small_tester()
    torch.manual_seed(0)
    return tester, {'tied': TiedAuxiliary(tester, 7), 'timm': TimmAuxiliary('test_resnet', num_classes=3)}


@pytest.mark.parametrize('kind', ['tied', 'timm'])
def test_loss_changes_nothing_and_is_differentiable_in_images_and_parameters(kind):
    tester, models = _models()
    model = models[kind]
    batch = real_batch()
    images = batch.clean.clone().requires_grad_()
    before, tester_before = snapshot(model), snapshot(tester)
    parameters = {name: value.detach().clone().requires_grad_() for name, value in model.learnable().items()}
    loss = model.loss(images, batch.labels, parameters)
    loss.backward()
    assert torch.equal(loss, model.loss(images, batch.labels))
    assert images.grad.abs().sum() > 0
    assert all(value.grad is not None for value in parameters.values())
    assert not changed(model, before)
    assert not changed(tester, tester_before)
    assert all(value.grad is None for value in [*model.parameters(), *tester.parameters()])


@pytest.mark.parametrize('kind', ['tied', 'timm'])
def test_train_step_moves_only_this_model(kind):
    tester, models = _models()
    model = models[kind]
    with pytest.raises(RuntimeError, match='call optimizers'):
        model.sgd_step()
    named, = model.optimizers(4)
    assert named.name == 'auxiliary'
    step = model.sgd_step()
    assert (step.lr, step.momentum, step.weight_decay, step.buffers) == (0.025, 0.9, 3e-4, {})
    tester_before, before = snapshot(tester), snapshot(model)
    batch = real_batch()
    images = batch.clean.clone().requires_grad_()
    losses = [model.train_step(images, batch.labels) for _ in range(4)]
    assert losses[-1] < losses[0]
    assert images.grad is None
    assert not changed(tester, tester_before)
    assert set(model.learnable()) <= changed(model, before)
    assert set(model.sgd_step().buffers) == set(model.learnable())
    named.scheduler.step()
    assert model.sgd_step().lr < 0.025


@pytest.mark.parametrize('kind', ['tied', 'timm'])
@pytest.mark.parametrize('options', [{'lr': 0.01}, {'momentum': 0.5}, {'weight_decay': 1e-2}])
def test_options_reach_the_step(kind, options):
    tester = small_tester()
    tied = kind == 'tied'
    model = TiedAuxiliary(tester, **options) if tied else TimmAuxiliary('test_resnet', num_classes=3, **options)
    named, = model.optimizers(1)
    step = model.sgd_step()
    neutral = {'lr': 0.025, 'momentum': 0.9, 'weight_decay': 3e-4}
    assert {name: getattr(step, name) for name in neutral} == {**neutral, **options}
    named.optimizer.step()
    named.scheduler.step()
    assert model.sgd_step().lr == pytest.approx(1e-3)


@pytest.mark.parametrize('kind', ['tied', 'timm'])
@pytest.mark.parametrize('limit', [None, 0.01, 1e6])
def test_a_step_is_clipped_and_the_look_ahead_is_not(kind, limit):
    tester = small_tester()
    options = {'gradient_clip_val': limit, 'momentum': 0.0, 'weight_decay': 0.0}
    torch.manual_seed(0)
    if kind == 'tied':
        model = TiedAuxiliary(tester, **options)
    else:
        model = TimmAuxiliary('test_resnet', num_classes=3, **options)
    model.optimizers(1)
    before = {name: value.detach().clone() for name, value in model.learnable().items()}
    model.train_step(real_batch().clean, real_batch().labels)
    moved = torch.cat([(value - before[name]).flatten() for name, value in model.learnable().items()]).norm().item()
    if limit == 0.01:
        assert moved == pytest.approx(0.025 * 0.01, rel=1e-2)
    else:
        assert moved > 0.025 * 0.1
    assert model.sgd_step().lr == 0.025


def test_a_map_of_numbers_makes_either_form(tmp_path):
    tester = small_tester()
    numbers = {'lr': 0.1, 'min_lr': 0.0, 'momentum': 0.5, 'weight_decay': 1e-3}
    for name, form in ((None, TiedAuxiliary), ('test_resnet', TimmAuxiliary)):
        model = make_auxiliary({'name': name, **numbers}, tester)
        assert isinstance(model, form)
        named, = model.optimizers(1)
        step = model.sgd_step()
        assert (step.lr, step.momentum, step.weight_decay) == (0.1, 0.5, 1e-3)
        named.optimizer.step()
        named.scheduler.step()
        assert model.sgd_step().lr == 0
    with pytest.raises(ValueError, match="no argument 'rate'; there are name, width, lr,"):
        make_auxiliary({'rate': 0.1}, tester)


def test_its_own_file_goes_before_the_testers(tmp_path):
    tester = small_tester()
    files = {}
    for seed in (1, 2):
        torch.manual_seed(seed)
        files[seed] = TimmAuxiliary('test_resnet', num_classes=3)
        tester.save(tmp_path / f'{seed}.pt', files[seed])
    loaded = small_tester(pretrained=tmp_path / '1.pt')
    own = {'name': 'test_resnet', 'pretrained': tmp_path / '2.pt'}
    assert not changed(make_auxiliary('test_resnet', loaded), snapshot(files[1]))
    assert not changed(make_auxiliary(own, loaded), snapshot(files[2]))
    assert not changed(TimmAuxiliary(num_classes=3, **own), snapshot(files[2]))
    tester.save(tmp_path / 'none.pt')
    with pytest.raises(ValueError, match='none.pt holds no auxiliary model'):
        make_auxiliary({**own, 'pretrained': tmp_path / 'none.pt'}, loaded)
    with pytest.raises(ValueError, match='2.pt holds an auxiliary model of other shapes'):
        TimmAuxiliary('test_vit', num_classes=3, image_size=16, pretrained=tmp_path / '2.pt')


def test_what_is_neither_a_name_nor_a_map_is_refused():
    with pytest.raises(TypeError, match='must be a name, a map with a name, or a model, not 3'):
        make_auxiliary(3, AugmentationPolicy(10, image_size=16))


def test_tied_trunk_is_shared_and_no_submodule():
    tester = small_tester()
    model = TiedAuxiliary(tester, 7)
    assert len(list(model.parameters())) == 4
    images = real_batch().clean
    before = model(images)
    tester.optimizers(1)
    tester.adversary_step(real_batch(), update_generator=False)
    assert not torch.equal(before, model(images))


def test_tied_gradient_in_images_against_a_central_difference():
    tester = exact_tester()
    model = TiedAuxiliary(tester, 7).double()
    batch = real_batch()
    images = batch.clean.double().requires_grad_()
    gradient, = torch.autograd.grad(model.loss(images, batch.labels), images)
    direction = torch.randn_like(gradient)
    step = 1e-5
    above, below = (model.loss(images + sign * step * direction, batch.labels).item() for sign in (1, -1))
    assert (gradient * direction).sum().item() == pytest.approx((above - below) / (2 * step), rel=1e-6)


def test_tied_features_are_quantised_only_when_the_tester_feeds_them():
    images = real_batch().clean
    logits = []
    for feed in (False, True):
        tester = small_tester(feed_quantized=feed)
        torch.manual_seed(0)
        logits.append(TiedAuxiliary(tester, 7)(images))
    assert not torch.equal(*logits)


def test_make_auxiliary():
    tester = small_tester()
    assert isinstance(make_auxiliary('tied', tester), TiedAuxiliary)
    model = make_auxiliary('test_resnet', tester)
    assert model(torch.zeros(2, 3, 16, 16)).shape == (2, 3)
    with pytest.raises(ValueError, match=r'resnet18.*tied'):
        make_auxiliary('resnet19', tester)
    with pytest.raises(ValueError, match='near names'):
        TimmAuxiliary('', num_classes=3)
    with pytest.raises(TypeError, match='timm classifier'):
        make_auxiliary('tied', torch.nn.Identity())


def test_timm_options_are_passed_on():
    model = TimmAuxiliary('test_vit', num_classes=3, img_size=16, patch_size=8)
    assert model(torch.zeros(1, 3, 16, 16)).shape == (1, 3)


def test_a_transformer_is_built_for_the_testers_images_and_differentiates_twice():
    model = make_auxiliary('test_vit', small_tester())
    assert model.classifier.patch_embed.img_size == (16, 16)
    batch, live = real_batch(), model.learnable()

    def loss(parameters, targets):
        return model.loss(targets['images'], batch.labels, parameters)

    product, = implicit_product(loss, live, {'images': batch.clean}, live).values()
    assert product.abs().max() > 0


@pytest.mark.parametrize('name', ['test_resnet', 'test_vit'])
def test_trying_the_image_size_draws_nothing_and_moves_nothing(name):
    torch.manual_seed(0)
    tried = TimmAuxiliary(name, num_classes=3, image_size=16)
    state = torch.get_rng_state()
    torch.manual_seed(0)
    options = {'img_size': 16} if name == 'test_vit' else {}
    plain = TimmAuxiliary(name, num_classes=3, **options)
    assert torch.equal(torch.get_rng_state(), state)
    assert tried.training and not changed(tried, snapshot(plain))


# Too deep, too deep for a table of its constructor, and too coarse.
@pytest.mark.parametrize('name', ['convnext_atto', 'maxvit_rmlp_pico_rw_256', 'vit_small_patch32_224'])
def test_a_model_that_cannot_take_the_testers_images_is_refused(name):
    with pytest.raises(ValueError, match=f"'{name}' cannot classify images of 16 pixels; use 'tied' or 'resnet18'"):
        make_auxiliary(name, small_tester())


def test_a_pretrained_classifier_is_loaded_and_another_one_refused(tmp_path):
    tester = small_tester()
    pretrained = {name: make_auxiliary(name, tester) for name in ('test_resnet', 'tied')}
    for model in pretrained.values():
        model.optimizers(1)
        model.train_step(real_batch().clean, real_batch().labels)
    for name, model in pretrained.items():
        tester.save(tmp_path / name, model)
        loaded = make_auxiliary(name, small_tester(pretrained=tmp_path / name))
        assert not changed(loaded, snapshot(model))
    for file, name in (('test_resnet', 'tied'), ('tied', 'test_resnet'), ('test_resnet', 'test_vit')):
        with pytest.raises(ValueError, match=f"{file} holds another auxiliary model than '{name}'"):
            make_auxiliary(name, small_tester(pretrained=tmp_path / file))


def test_a_file_without_an_auxiliary_model_starts_it_untrained(tmp_path):
    small_tester().save(tmp_path / 'tester.pt')
    for name, kind in (('tied', TiedAuxiliary), ('test_resnet', TimmAuxiliary)):
        assert isinstance(make_auxiliary(name, small_tester(pretrained=tmp_path / 'tester.pt')), kind)


@pytest.mark.parametrize('options', [{'hidden': 0}, {'lr': 1e-4}, {'momentum': -0.1}, {'weight_decay': -1.0}])
def test_values_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options)).split('_')[0]):
        TiedAuxiliary(small_tester(), **options)
