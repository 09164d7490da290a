"""A worst-case search without a tester brings an augmentation policy, to any evaluator."""

import math

import pytest
import torch
from nni.nas.evaluator.pytorch import Classification, DataLoader
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.hub.pytorch import DARTS as HubDARTS
from nni.nas.space import RawFormatModelSpace
from pytorch_lightning.callbacks import Callback, ModelCheckpoint
from torch.utils.data import TensorDataset
from worst_case_search import QUIET, make_parts, run

import nni_wcnas as wc
from nni_wcnas.search.adversary import Adversary

STOCK = {**QUIET, 'logger': False, 'enable_checkpointing': False, 'num_sanity_val_steps': 0,
         'enable_model_summary': False}


def _space():
    return wc.spaces.DARTS(
        width=2, num_cells=3, num_nodes=2, operations=('none', 'max_pool_3x3', 'skip_connect', 'sep_conv_3x3')
    )


def _stock(optimizer=torch.optim.SGD, *, epochs=1, space=None, **trainer):
    """NNI's evaluator on digits; it augments and normalises as it likes."""
    torch.manual_seed(0)
    batch = next(iter(wc.data.Digits(batch_size=16, limit=64).train_dataloader()))
    train, val = TensorDataset(*batch[:2]), TensorDataset(batch.images.flip(0), batch.labels.flip(0))
    evaluator = Classification(
        optimizer=optimizer,
        learning_rate=0.01,
        train_dataloaders=DataLoader(train, batch_size=8, shuffle=True),
        val_dataloaders=DataLoader(val, batch_size=8),
        num_classes=10,
        max_epochs=epochs,
        **{**STOCK, **trainer},
    )
    return space or _space(), evaluator


def _stock_search(strategy, *, ckpt_path=None, **arguments):
    space, evaluator = _stock(**arguments)
    if ckpt_path is not None:
        evaluator.fit_kwargs |= {'ckpt_path': str(ckpt_path), 'weights_only': False}
    strategy(RawFormatModelSpace.from_model(space, evaluator), SequentialExecutionEngine())
    return strategy


class Killed(Callback):
    """In the middle of the second epoch."""

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        if trainer.current_epoch == 1 and batch_idx == 0:
            raise RuntimeError('killed')


@pytest.fixture
def small_auxiliary(monkeypatch):
    """A small network in the place of resnet18."""
    monkeypatch.setattr('nni_wcnas.tester.auxiliary_choice.default_auxiliary', lambda kind: 'test_resnet')


# ------------------------------------------------------------------------------------------------ a stock evaluator


def test_nnis_own_space_and_evaluator():
    """Nothing but the strategy is ours; the auxiliary model is the paper's resnet18."""
    space = HubDARTS(width=2, num_cells=3, dataset='cifar')
    strategy = _stock_search(wc.presets.wcnas(every=1), space=space, limit_train_batches=1, limit_val_batches=1)
    module = strategy.oneshot_module
    adversary = module.adversary
    assert isinstance(adversary, Adversary) and isinstance(adversary.tester, wc.AugmentationPolicy)
    assert type(adversary.auxiliary.classifier).__name__ == 'ResNet' and adversary.tester.num_classes == 10
    assert len(next(strategy.list_models()).sample) == 32
    optimised = [{id(p) for g in o.param_groups for p in g['params']} for o in module.trainer.optimizers]
    weights, architecture = module.weights(), module.architecture()
    groups = (weights, adversary.auxiliary.learnable(), adversary.tester.hyperparameters(), architecture)
    assert optimised == [{id(p) for p in group.values()} for group in groups]
    assert set().union(*optimised) == {id(p) for p in module.parameters()}
    assert not {id(p) for p in adversary.parameters()} & {id(p) for p in module.training_module.parameters()}
    assert {name.split('.')[1] for name in module.state_dict() if name.startswith('adversary.')} == {
        'tester', 'auxiliary', 'pixels'
    }  # fmt: skip
    assert all(p.abs().max() > 0 for p in adversary.tester.parameters()), 'P has learned'
    assert {'loss_V', 'loss_B', 'policy_entropy', 'val_acc'} <= module.trainer.callback_metrics.keys()


@pytest.mark.parametrize('trade_off', [0.0, 1.0])
def test_adam_takes_the_first_order(small_auxiliary, trade_off):
    strategy = wc.presets.wcnas(every=1, hypergradient=wc.FirstOrder(), trade_off=trade_off)
    adversary = _stock_search(strategy, optimizer=torch.optim.Adam).oneshot_module.adversary
    assert all(p.abs().max() > 0 for p in adversary.tester.parameters())
    assert (adversary.auxiliary is None) is (trade_off == 0.0)
    with pytest.raises(ValueError, match='plain torch.optim.SGD.*Adam'):
        _stock_search(wc.presets.wcnas(), optimizer=torch.optim.Adam)


def test_pixels_are_read_off_the_first_training_batch(small_auxiliary):
    """And with them, both halves have clean images."""
    seen = []

    class Watched(Callback):
        def on_train_batch_start(self, trainer, module, batch, batch_idx):
            step = module.iteration._step(batch, batch_idx)
            seen.append((batch, step, step.learner.renormalise(step.train.clean)))

    module = _stock_search(wc.presets.wcnas(), callbacks=[Watched()]).oneshot_module
    (first, _, _), pixels = seen[0], module.adversary.pixels
    assert torch.equal(pixels.low, first['train'][0].amin((0, 2, 3), True))
    assert torch.equal(pixels.high, first['train'][0].amax((0, 2, 3), True))
    for batch, step, again in seen:
        for half in (step.train, step.val):
            assert half.clean.min() >= -1 and half.clean.max() <= 1
        torch.testing.assert_close(again, batch['train'][0])


def test_a_resumed_search_with_a_stock_evaluator_is_bit_for_bit_the_same(small_auxiliary, tmp_path):
    def searched(folder, *callbacks, **arguments):
        keep = ModelCheckpoint(tmp_path / folder, 'last', save_on_train_epoch_end=True, enable_version_counter=False)
        arguments |= {'callbacks': [*callbacks, keep], 'enable_checkpointing': True, 'epochs': 2}
        strategy = _stock_search(wc.presets.wcnas(every=1), **arguments)
        return strategy.oneshot_module.state_dict(), next(strategy.list_models()).sample

    whole, sample = searched('whole')
    with pytest.raises(RuntimeError, match='killed'):
        searched('cut', Killed())
    resumed, again = searched('cut', ckpt_path=tmp_path / 'cut' / 'last.ckpt')
    assert whole.keys() == resumed.keys() and 'adversary.pixels.low' in whole
    assert [name for name in whole if not torch.equal(whole[name], resumed[name])] == []
    assert sample == again


# ------------------------------------------------------------------------------------------------- our own evaluator


def _policy_parts(*, epochs=1, auxiliary='test_resnet', **evaluator):
    torch.manual_seed(0)
    data = wc.data.Digits(batch_size=8, limit=32)
    return _space(), wc.SearchEvaluator(data, auxiliary=auxiliary, max_epochs=epochs, **QUIET, **evaluator)


@pytest.mark.parametrize('trade_off', [0.0, 1.0])
def test_an_evaluator_of_ours_takes_it_in(trade_off):
    module = run(wc.presets.wcnas(every=1, trade_off=trade_off), make=_policy_parts).oneshot_module
    learner = module.training_module
    assert module.adversary is None
    assert (learner.tester.num_classes, learner.tester.image_size) == (10, 16)
    assert (learner.auxiliary is None) is (trade_off == 0.0)
    assert all(p.abs().max() > 0 for p in learner.tester.parameters())
    optimised = [{id(p) for g in o.param_groups for p in g['params']} for o in module.trainer.optimizers]
    assert sum(map(len, optimised)) == len(set().union(*optimised))
    assert set().union(*optimised) == {id(p) for p in module.parameters()}
    assert {id(p) for p in learner.tester.parameters()} in optimised


def test_an_auxiliary_model_of_ones_own_stays():
    own = wc.tester.TimmAuxiliary('test_resnet', num_classes=10)
    module = run(wc.presets.wcnas(every=1), make=_policy_parts, auxiliary=own, limit_train_batches=1).oneshot_module
    assert module.training_module.auxiliary is own


def test_a_tester_that_is_given_stays():
    policy = wc.AugmentationPolicy(10, image_size=0, per_sample=False)
    module = run(wc.presets.wcnas(), make=_policy_parts, tester=policy, limit_train_batches=1).oneshot_module
    assert module.training_module.tester is policy


def test_the_auxiliary_model_follows_the_tester():
    assert type(make_parts()[1].module.auxiliary).__name__ == 'TiedAuxiliary'
    policy = wc.AugmentationPolicy(10, image_size=16)
    assert make_parts(tester=policy)[1].module.auxiliary is None, 'it waits for the space'
    model = make_parts(tester=policy, auxiliary={'width': 6})[1].module.auxiliary
    assert model.classifier.num_features == 48


@pytest.mark.parametrize('given', [True, False], ids=['a policy', 'no tester'])
@pytest.mark.parametrize(('width', 'expected'), [(8, 4), (24, 12)])
def test_the_auxiliary_model_grows_with_the_space(given, width, expected):
    """As wide as its rule says of the space as it is written, with the evaluator's policy and without."""
    space = wc.spaces.NASBench201(width=width, num_cells=1)
    wanted = math.isqrt(sum(p.numel() for p in space.parameters() if p.dim() == 4) // 6000)
    data = wc.data.Digits(batch_size=16, limit=64)
    tester = wc.AugmentationPolicy(10, image_size=16) if given else None
    evaluator = wc.SearchEvaluator(data, tester=tester, max_epochs=1, **QUIET)
    strategy = wc.presets.wcnas(every=1)
    strategy.mutate_model(space)
    strategy.mutate_evaluator(evaluator)
    classifier = evaluator.module.auxiliary.classifier
    assert classifier.bn1.num_features == max(4, wanted) == expected


def test_an_average_case_search_brings_nothing():
    module = run(wc.presets.darts(), make=_policy_parts, limit_train_batches=1).oneshot_module
    assert module.adversary is None and module.training_module.tester is None


def test_a_resumed_search_is_bit_for_bit_the_same(tmp_path):
    def searched(folder, **arguments):
        strategy = run(
            wc.presets.wcnas(every=1), make=_policy_parts, epochs=2, checkpoint_directory=tmp_path / folder, **arguments
        )
        return strategy.oneshot_module.state_dict(), next(strategy.list_models()).sample

    whole, sample = searched('whole')
    with pytest.raises(RuntimeError, match='killed'):
        searched('cut', callbacks=[Killed()])
    resumed, again = searched('cut', resume=tmp_path / 'cut' / 'last.ckpt')
    assert whole.keys() == resumed.keys() and 'training_module.tester.selection' in whole
    assert [name for name in whole if not torch.equal(whole[name], resumed[name])] == []
    assert sample == again


# ------------------------------------------------------------------------------------------------------------ refusals


def test_an_objective_that_needs_a_generator():
    for make, found in (
        (_stock, 'none'),
        (_policy_parts, 'none'),
        (lambda: make_parts(tester=wc.AugmentationPolicy(10, image_size=16), auxiliary='test_resnet'),
         'AugmentationPolicy, which has no generator'),
    ):
        with pytest.raises(ValueError, match=f'SynthesizedValidation needs a tester with a generator, .* {found}: use'):
            run(wc.presets.dasgm(), make=make)


def test_a_policy_for_other_images():
    with pytest.raises(ValueError, match=r'of 32 pixels .* use AugmentationPolicy\(image_size=16\)'):
        make_parts(tester=wc.AugmentationPolicy(10))
    with pytest.raises(ValueError, match=r'knows 3 classes .* use AugmentationPolicy\(num_classes=10\)'):
        make_parts(tester=wc.AugmentationPolicy(3, image_size=16))
