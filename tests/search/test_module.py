"""The training step on real digits with a real GAN: who moves when, and nothing else."""

import math
from functools import partial

import pytest
import torch
from pytorch_lightning.callbacks import Callback, LambdaCallback
from torch.utils._python_dispatch import TorchDispatchMode
from worst_case_search import make_parts, run

import nni_wcnas as wc
from nni_wcnas.contracts import Batch

DIFFERENCE = wc.Unrolled(by='finite_difference')


def _groups(module):
    tester, auxiliary = module.training_module.tester, module.training_module.auxiliary
    return {
        'W': module.weights(),
        'A': module.architecture(),
        'G': tester.generator_parameters(),
        'S': tester.discriminator_parameters(),
        'B': tester.hyperparameters(),
        'V': auxiliary.learnable(),
    }


def _snapshot(module):
    return {name: {key: p.detach().clone() for key, p in group.items()} for name, group in _groups(module).items()}


def _moved(before, after):
    return {
        name for name in before if any(not torch.equal(before[name][key], after[name][key]) for key in before[name])
    }


def _dasgm(hyperparameter_lr, **arguments):
    objective = wc.SynthesizedValidation(hyperparameter_lr=hyperparameter_lr)
    return wc.presets.dasgm('darts_2nd', objective=objective, **arguments)


class AtFirstBatch(Callback):
    """Run a probe on the module before its first step."""

    def __init__(self, probe):
        self.probe, self.result = probe, None

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        if batch_idx == 0 and trainer.current_epoch == 0:
            self.result = self.probe(module, batch)


def _probe(function, strategy=None, **arguments):
    callback = AtFirstBatch(function)
    run(strategy or wc.presets.wcnas(), callbacks=[callback], limit_train_batches=1, limit_val_batches=0, **arguments)
    return callback.result


def test_three_groups_are_disjoint_and_exhaustive():
    def probe(module, batch):
        optimised = [
            [id(p) for group in optimizer.param_groups for p in group['params']]
            for optimizer in module.trainer.optimizers
        ]
        learnt = {id(p) for p in module.parameters() if p.requires_grad}
        groups = {name: {id(p) for p in group.values()} for name, group in _groups(module).items()}
        return optimised, learnt, groups, [type(o).__name__ for o in module.trainer.optimizers]

    optimised, learnt, groups, kinds = _probe(probe)
    flat = [p for group in optimised for p in group]
    assert len(flat) == len(set(flat)), 'two optimisers share a parameter'
    assert set(flat) == learnt, 'a parameter that learns has no optimiser, or the reverse'
    assert sum(map(len, groups.values())) == len(set().union(*groups.values())) == len(learnt)
    assert [set(group) for group in optimised] == [groups[name] for name in 'WGSVBA']
    assert kinds == ['SGD', 'SGD', 'Adam', 'SGD', 'Adam', 'Adam']


def test_each_phase_moves_its_own_group_only():
    def probe(module, batch):
        step = module.iteration._step(batch, 0)
        states = [_snapshot(module)]
        module.iteration._architecture_phase(step)
        states.append(_snapshot(module))
        module.iteration._weight_phase(step, batch['train'], 0, None)
        states.append(_snapshot(module))
        module.objective.adversary_step(step, update_generator=False)
        states.append(_snapshot(module))
        module.objective.adversary_step(step, update_generator=True)
        states.append(_snapshot(module))
        return [_moved(a, b) for a, b in zip(states, states[1:])]

    assert _probe(probe) == [{'A', 'B'}, {'W'}, {'S', 'V'}, {'S', 'V', 'G'}]


def test_architecture_phase_leaves_every_buffer_and_the_weights_gradients():
    def probe(module, batch):
        before = {name: b.clone() for name, b in module.named_buffers()}
        module.iteration._architecture_phase(module.iteration._step(batch, 0))
        changed = [name for name, b in module.named_buffers() if not torch.equal(before[name], b)]
        return changed, [name for name, p in module.weights().items() if p.grad is not None]

    assert _probe(probe) == ([], [])


def test_a_descends_and_b_ascends():
    def probe(module, batch):
        step = module.iteration._step(batch, 0)
        torch.manual_seed(1)
        update = module.objective.architecture_step(step)
        ascent = update.ascent()
        before = _snapshot(module)
        torch.manual_seed(1)
        module.iteration._architecture_phase(step)
        after = _snapshot(module)
        along = {}
        for name, gradients in (('A', update.alphas), ('B', ascent.hyperparameters)):
            along[name] = sum(((after[name][key] - before[name][key]) * g).sum().item() for key, g in gradients.items())
        return along

    along = _probe(probe)
    assert along['A'] < 0 < along['B']


class Passes(Callback):
    """Count forward passes through the supernet and note which batches move A, B and G."""

    def setup(self, trainer, module, stage):
        self.count, self.due = 0, []
        module.model.register_forward_pre_hook(self._pass)

    def _pass(self, module, inputs):
        self.count += module.training

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        self.before = _snapshot(module)

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        moved = _moved(self.before, _snapshot(module))
        self.due.append(moved & {'A', 'B', 'G'})
        assert moved >= {'S', 'V', 'W'}


@pytest.mark.parametrize(
    ('arguments', 'each', 'passes'),
    [
        ({}, 8, 1.5),
        ({'reuse_gradient': True}, 8, 1.375),
        ({'hypergradient': wc.FirstOrder()}, 8, 1.375),
        ({'average_weight': 0.0}, 8, 1.375),
        ({'every': 4}, 4, 2.0),
        ({'hypergradient': DIFFERENCE}, 8, 1.75),
        ({'hypergradient': DIFFERENCE, 'reuse_gradient': True}, 8, 1.625),
        ({'hypergradient': DIFFERENCE, 'average_weight': 0.0}, 8, 1.625),
        ({'hypergradient': DIFFERENCE, 'every': 4}, 4, 2.5),
    ],
    ids=str,
)
def test_a_b_and_g_move_on_every_nth_batch_within_the_budget_of_passes(arguments, each, passes):
    counter = Passes()
    run(wc.presets.wcnas(**arguments), callbacks=[counter], limit=128, limit_train_batches=8, limit_val_batches=0)
    assert counter.due == [{'A', 'B', 'G'} if i % each == 0 else set() for i in range(8)]
    assert counter.count / 8 == passes


@pytest.mark.parametrize('every', [1, 8])
@pytest.mark.parametrize('reuse_gradient', [False, True])
def test_running_statistics_move_and_the_training_loss_is_logged_whoever_computes_the_gradient(every, reuse_gradient):
    class Look(Callback):
        def on_train_end(self, trainer, module):
            self.seen = module.model.get_buffer('stem.1.num_batches_tracked').item()
            self.logged = set(trainer.callback_metrics)

    look = Look()
    run(wc.presets.wcnas(every=every, reuse_gradient=reuse_gradient), callbacks=[look], limit=64,
        limit_train_batches=4, limit_val_batches=0)  # fmt: skip
    assert look.seen == 4
    assert {'loss_W', 'loss_A', 'loss_B'} <= look.logged


@pytest.mark.parametrize(('by', 'passes'), [('exact', 3), ('finite_difference', 5)])
def test_passes_of_an_unrolled_average_case(by, passes):
    """One for the weights, one for validation, one for W' and the exact product; two more for the other product."""
    counter = Passes()
    counter.on_train_batch_start = counter.on_train_batch_end = lambda *_: None
    strategy = wc.presets.darts_2nd(hypergradient=wc.Unrolled(by))
    run(strategy, callbacks=[counter], limit_train_batches=2, limit_val_batches=0)
    assert counter.count == 2 * passes


def test_the_training_batch_is_seen_once_for_a_step_ahead_and_its_product():
    """And once more by the weight step."""

    def probe(module, batch):
        seen = []
        module.model.register_forward_pre_hook(lambda model, inputs: seen.append(inputs[0]))
        step = module.iteration._step(batch, 0)
        module.iteration._architecture_phase(step)
        counts = [sum(torch.equal(images, part.images) for images in seen) for part in (step.train, step.val)]
        module.iteration._weight_phase(step, batch['train'], 0, None)
        return *counts, sum(torch.equal(images, step.train.images) for images in seen)

    assert _probe(probe, wc.presets.darts_2nd()) == (1, 1, 2)
    assert _probe(probe, wc.presets.darts_2nd(hypergradient=DIFFERENCE)) == (3, 1, 4)


def test_nothing_but_the_weights_learns_in_a_warmup():
    class Epochs(Callback):
        def __init__(self):
            self.states = []

        def on_train_epoch_start(self, trainer, module):
            self.states.append(_snapshot(module))

        def on_train_end(self, trainer, module):
            self.states.append(_snapshot(module))

    epochs = Epochs()
    run(wc.presets.wcnas(schedule=wc.SingleStage(warmup=1)), callbacks=[epochs], epochs=2)
    start, warm, end = epochs.states
    assert _moved(start, warm) == {'W'}
    assert _moved(warm, end) == {'W', 'G', 'S', 'V', 'A', 'B'}


@pytest.mark.parametrize(
    ('strategy', 'warm', 'afterwards'),
    [
        (wc.presets.wcnas, {'W'}, {'W', 'V', 'G', 'S', 'A', 'B'}),
        (partial(_dasgm, 3e-4), {'W'}, {'W', 'G', 'S', 'A', 'B'}),
        (partial(_dasgm, 0.0), {'W', 'G', 'S', 'B'}, {'W', 'G', 'S', 'A', 'B'}),  # S, which is B's name here, plays.
    ],
    ids=['worst case', 'synthesized', 'synthesized, B not learned'],
)
def test_a_generator_waits_in_the_warmup_where_its_discriminator_is_b(strategy, warm, afterwards):
    states = []
    epochs = LambdaCallback(
        on_train_epoch_start=lambda trainer, module: states.append(_snapshot(module)),
        on_train_end=lambda trainer, module: states.append(_snapshot(module)),
    )
    tester = wc.FQGAN(10, image_size=16, width=4, latent=8, dictionary_size=8, learns='discriminator')
    run(strategy(schedule=wc.SingleStage(warmup=1)), callbacks=[epochs], epochs=2, tester=tester)
    start, warmed, end = states
    assert _moved(start, warmed) == warm
    assert _moved(warmed, end) == afterwards


def test_learning_rates_follow_the_cosine_of_the_tables():
    class Rates(Callback):
        def __init__(self):
            self.rates = []

        def on_train_epoch_start(self, trainer, module):
            self.rates.append([optimizer.param_groups[0]['lr'] for optimizer in trainer.optimizers])

    rates = Rates()
    tester = wc.FQGAN(10, image_size=16, width=4, latent=8, dictionary_size=8, generator_lr=0.01, min_lr=0.002)
    run(wc.presets.wcnas(), callbacks=[rates], epochs=4, tester=tester, limit_train_batches=1, limit_val_batches=0)
    cosine = [(1 + math.cos(math.pi * e / 4)) / 2 for e in range(4)]
    w, g, s, v, b, a = zip(*rates.rates)
    assert w == pytest.approx([0.001 + 0.024 * c for c in cosine]) and v == pytest.approx(w)
    assert g == pytest.approx([0.002 + 0.008 * c for c in cosine])
    assert set(s) == {2e-4} and set(b) == set(a) == {3e-4}


def test_gradient_clipping_acts_on_the_weights_alone():
    def probe(module, batch):
        step = module.iteration._step(batch, 0)
        before = _snapshot(module)
        module.iteration._weight_phase(step, batch['train'], 0, None)
        norm = torch.linalg.vector_norm(torch.stack([p.grad.norm() for p in module.weights().values()]))
        return norm.item(), _moved(before, _snapshot(module))

    clipped, moved = _probe(probe, wc.presets.wcnas(gradient_clip_val=1e-3))
    free, _ = _probe(probe, wc.presets.wcnas(gradient_clip_val=None))
    assert clipped == pytest.approx(1e-3, rel=1e-3) and free > 0.1 and moved == {'W'}


def test_lookahead_is_the_weight_step_that_follows():
    """W' of an architecture batch is where SGD goes from the same batch, momentum and decay included, when nothing is
    clipped."""

    class Compare(Callback):
        def on_train_batch_start(self, trainer, module, batch, batch_idx):
            if batch_idx == 2:
                step = module.iteration._step(batch, batch_idx)
                ahead = step.hypergradient.ahead(step).weights
                module.iteration._weight_phase(step, batch['train'], batch_idx, None)
                self.largest = max((ahead[name] - p).abs().max().item() for name, p in module.weights().items())
                self.momentum = len(step.learner.sgd_step().buffers)

    compare = Compare()
    run(wc.presets.darts_2nd(gradient_clip_val=None), callbacks=[compare], limit_train_batches=3, limit_val_batches=0)
    assert compare.momentum > 0 and compare.largest < 1e-6


def test_search_sees_the_testers_images_in_the_learners_statistics():
    def probe(module, batch):
        clean = next(iter(wc.data.Digits(limit=64).evaluation_dataloader('architecture')))
        return clean, module.iteration._step(batch, 0).learner.renormalise(clean.clean)

    batch, renormalised = _probe(probe)
    torch.testing.assert_close(renormalised, batch.images, rtol=0, atol=1e-5)
    assert isinstance(batch, Batch) and batch.clean.min() >= -1 and batch.clean.max() <= 1


def test_uninterrupted_and_resumed_searches_end_bit_for_bit_alike(tmp_path):
    def search(folder, **arguments):
        strategy = run(wc.presets.wcnas(every=2), epochs=3, checkpoint_directory=tmp_path / folder, **arguments)
        return strategy.oneshot_module.state_dict(), next(strategy.list_models()).sample

    class Killed(Callback):
        def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
            if trainer.current_epoch == 1 and batch_idx == 1:
                raise RuntimeError('killed')

    whole, sample = search('whole')
    with pytest.raises(RuntimeError, match='killed'):
        search('cut', callbacks=[Killed()])
    torch.manual_seed(99)
    resumed, again = search('cut', resume=tmp_path / 'cut' / 'last.ckpt', seed=0)
    assert whole.keys() == resumed.keys()
    assert [name for name in whole if not torch.equal(whole[name], resumed[name])] == []
    assert sample == again
    assert torch.load(tmp_path / 'cut' / 'last.ckpt', weights_only=True)['epoch'] == 2


def test_checkpoint_that_was_cut_short_is_refused(tmp_path):
    run(wc.presets.darts(), checkpoint_directory=tmp_path, limit_train_batches=1)
    path = tmp_path / 'last.ckpt'
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match=r'last.ckpt is damaged, was cut short.*delete it to start'):
        make_parts(resume=path)
    with pytest.raises(ValueError, match='there is no checkpoint to resume from'):
        make_parts(resume=tmp_path / 'none.ckpt')


@pytest.mark.parametrize(
    ('tester', 'message'), [({'num_classes': 9}, 'knows 9 classes and .* has 10'), ({'image_size': 32}, 'of 32 pixels')]
)
def test_tester_must_fit_the_data(tester, message):
    with pytest.raises(ValueError, match=message):
        make_parts(tester=wc.FQGAN(**{'num_classes': 10, 'image_size': 16, 'width': 4, 'dictionary_size': 8, **tester}))


def test_hard_examples_are_measured_apart():
    strategy = run(wc.presets.darts(), hard=wc.data.Digits(limit=64).architecture_indices[:4], limit_train_batches=1)
    metrics = strategy.oneshot_module.trainer.callback_metrics
    assert float(metrics['val_accuracy_hard']) * 4 == int(float(metrics['val_accuracy_hard']) * 4)
    assert (
        'val_accuracy_hard'
        not in run(wc.presets.darts(), limit_train_batches=1).oneshot_module.trainer.callback_metrics
    )


@pytest.mark.parametrize('name', ['resnet10t'])
def test_any_timm_model_may_be_the_auxiliary(name):
    def probe(module, batch):
        update = module.objective.architecture_step(module.iteration._step(batch, 0))
        gradients = update.ascent().hyperparameters
        return type(module.training_module.auxiliary).__name__, torch.stack(list(gradients.values()))

    kind, gradient = _probe(probe, auxiliary=name)
    assert kind == 'TimmAuxiliary' and gradient.isfinite().all() and (gradient != 0).all()


class Reads(TorchDispatchMode):
    """Which operations make the processor wait for the device to answer."""

    NAMES = ('_local_scalar_dense', 'nonzero', 'bincount', 'equal', 'is_nonzero', 'masked_select', '_unique2', 'item')

    def __init__(self, module):
        super().__init__()
        states = [state for optimizer in module.trainer.optimizers for state in optimizer.state.values()]
        self.counters = [state['step'] for state in states if 'step' in state]  # Adam's; torch holds them on the CPU
        self.found = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        if name in self.NAMES and not any(args[0] is counter for counter in self.counters):
            self.found.append(name)
        return function(*args, **(kwargs or {}))


def _sanas():
    return wc.presets.sanas(base='darts', objective=wc.SaliencyAware(every=4, saliency_every=4, steps=1))


@pytest.mark.parametrize('strategy', [wc.presets.darts, wc.presets.darts_2nd, wc.presets.wcnas, _sanas])
def test_no_step_waits_for_a_number(strategy):
    """On a GPU the tester, the auxiliary model and the supernet are queued one after the other without a stop."""

    def probe(module, batch):
        module.training_step(batch, 0)  # optimisers build their state
        with Reads(module) as reads:
            module.training_step(batch, 16)  # due, and not one whose mixing weights are logged
        with Reads(module) as logged:
            module.training_step(batch, 10)
        return reads.found, logged.found

    found, logged = _probe(probe, strategy())
    assert found == [] and '_local_scalar_dense' in logged


@pytest.mark.parametrize('strategy', [wc.presets.darts, wc.presets.darts_2nd, wc.presets.wcnas])
def test_bf16_where_nothing_is_unrolled(strategy):
    """Which dtype each pass through the supernet has, by phase."""

    def probe(module, batch):
        dtypes = []
        classifier = [layer for layer in module.model.modules() if isinstance(layer, torch.nn.Linear)][-1]
        classifier.register_forward_hook(lambda layer, inputs, output: dtypes.append(output.dtype))
        step, context = module.iteration._step(batch, 0), module.trainer.precision_plugin.train_step_context()
        with context:
            module.iteration._architecture_phase(step)
            architecture = set(dtypes)
            dtypes.clear()
            module.iteration._weight_phase(step, batch['train'], 0, None)
        return architecture, set(dtypes)

    architecture, weights = _probe(probe, strategy(), precision='bf16-mixed')
    precise = strategy is not wc.presets.darts
    assert architecture == {torch.float32 if precise else torch.bfloat16} and weights == {torch.bfloat16}


def test_bf16_casts_each_parameter_as_it_is():
    """A cache of casts would keep what was cast before an optimiser's step, or without its gradient."""

    def probe(module, batch):
        with module.trainer.precision_plugin.train_step_context():
            before = _snapshot(module)
            module.training_step(batch, 0)
            return _moved(before, _snapshot(module)), torch.is_autocast_cache_enabled()

    assert _probe(probe, precision='bf16-mixed') == (set('AWGSVB'), False)


def test_bf16_changes_rounding_alone():
    def probe(module, batch):
        with module.trainer.precision_plugin.train_step_context():
            torch.manual_seed(1)
            module.training_step(batch, 0)
        return {name: loss.item() for name, loss in module.iteration.losses.items()}

    half, full = _probe(probe, precision='bf16-mixed'), _probe(probe)
    assert half.keys() == full.keys() and half != full
    assert half == pytest.approx(full, rel=0.05, abs=0.02)


@pytest.mark.parametrize('fast_cell', [True, False])
def test_bf16_in_a_pass_that_only_looks(fast_cell):
    """As a smoothing's, whose gradients are taken in half precision."""
    strategy = wc.Search(smoothing=wc.AdversarialSmoothing(steps=1), fast_cell=fast_cell)
    run(strategy, precision='bf16-mixed', limit_train_batches=2, limit_val_batches=0)
    assert all(value.isfinite().all() for value in strategy.oneshot_module.weights().values())


@pytest.mark.parametrize('precision', ['16-mixed', 'half'])
def test_other_precisions_are_refused(precision):
    with pytest.raises(ValueError) as refused:
        make_parts(precision=precision)
    assert str(refused.value) == (
        'precision must be one of 32-true, bf16-mixed, 64-true (float16 needs scaled losses, which a hypergradient is '
        f'not made for), not {precision!r}'
    )


@pytest.mark.parametrize(('base', 'members'), [('darts', {}), ('pr_darts', {}), ('drnas', {'anchor': 'kl'})])
def test_the_loss_of_a_is_all_that_a_descends(base, members):
    """A relaxation's penalty included."""
    logged = {}

    class Look(Callback):
        def on_train_end(self, trainer, module):
            logged.update({name: float(value) for name, value in trainer.callback_metrics.items()})

    relaxation = {'relaxation': wc.Dirichlet(**members)} if members else {}
    strategy = wc.presets.wcnas(base, every=1, average_weight=0.5, decov=0.25, **relaxation)
    run(strategy, callbacks=[Look()], limit_val_batches=0)
    assert ('loss_penalty' in logged) == (base != 'darts')
    whole = logged['loss_generated'] + 0.5 * logged['loss_real'] + 0.25 * logged['loss_decov']
    assert logged['loss_A'] == pytest.approx(whole + logged.get('loss_penalty', 0.0), rel=1e-5)
