"""Search on NNI's spaces and inside NNI's experiment; refusals; options that act."""

import math
from contextlib import nullcontext

import pytest
import torch
from nni.nas.evaluator.pytorch import Classification, DataLoader
from nni.nas.experiment import NasExperiment
from nni.nas.hub.pytorch import DARTS as HubDARTS
from nni.nas.hub.pytorch import NasBench201, ProxylessNAS
from nni.nas.nn.pytorch import model_context
from nni.nas.strategy import DARTS as NNIDARTS
from PIL import Image
from pytorch_lightning import LightningModule
from pytorch_lightning.callbacks import Callback
from torch.utils.data import TensorDataset
from worst_case_search import make_parts, run

from nni_wcnas import (
    AverageCase,
    BigGAN,
    FirstOrder,
    Magnitude,
    NoSmoothing,
    Search,
    SearchEvaluator,
    SelectedExamples,
    SingleStage,
    Softmax,
    SynthesizedValidation,
    Unrolled,
    WorstCase,
    presets,
)
from nni_wcnas.contracts import Moment, Weighting
from nni_wcnas.data import Digits, ImageFolder
from nni_wcnas.errors import DivergedError
from nni_wcnas.functional.frozen import frozen_statistics
from nni_wcnas.functional.hypergradient import implicit_product, inner_gradient
from nni_wcnas.functional.second_pass import quick_second_pass
from nni_wcnas.relaxation import Dirichlet, GumbelSoftmax, HardConcrete
from nni_wcnas.schedule import HessianEigenvalue
from nni_wcnas.search.evaluator_parts import bring_tester
from nni_wcnas.spaces import DARTS
from nni_wcnas.supernet.choices import cells_by_label

SPACES = {
    'ours': lambda: DARTS(width=4, num_cells=3, num_classes=7),
    'hub_darts': lambda: HubDARTS(width=4, num_cells=3, dataset='cifar'),
    'nasbench201': lambda: NasBench201(4, 1),
    'proxylessnas': lambda: ProxylessNAS(num_labels=10, base_widths=(8, 8, 8, 8, 8, 8, 8, 8, 8), width_mult=1.0),
}


@pytest.mark.parametrize('name', SPACES)
def test_sample_freezes_the_space_and_builds_the_same_model(search, name):
    torch.manual_seed(0)
    size = 32 if name == 'proxylessnas' else 8
    strategy = search(
        presets.darts(), SPACES[name](), images=4, batch_size=2, size=size, classes=7 if name == 'ours' else 10
    )
    sample = next(strategy.list_models()).sample
    frozen = SPACES[name]().freeze(sample)
    with model_context(sample):
        built = SPACES[name]()
    shapes = [{key: value.shape for key, value in model.state_dict().items()} for model in (frozen, built)]
    assert shapes[0] == shapes[1]
    assert sum(p.numel() for p in frozen.parameters()) < sum(p.numel() for p in strategy.supernet.parameters())
    frozen.load_state_dict(built.state_dict())
    x = torch.randn(2, 3, size, size)
    if name == 'proxylessnas':  # NNI's freeze rebuilds its batch norms with another epsilon
        assert frozen(x).shape == built(x).shape == (2, 10)
    else:
        assert torch.equal(frozen.eval()(x), built.eval()(x))


def test_nas_experiment_exports_dict_and_instance(tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path))
    x, y = torch.randn(8, 3, 8, 8), torch.randint(7, (8,))
    loader = DataLoader(TensorDataset(x, y), batch_size=4)
    evaluator = Classification(
        optimizer=torch.optim.SGD,
        train_dataloaders=loader,
        val_dataloaders=loader,
        num_classes=7,
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        accelerator='cpu',
    )
    experiment = NasExperiment(SPACES['ours'](), evaluator, presets.darts_2nd())
    experiment.config.experiment_working_directory = str(tmp_path)
    experiment.run()
    (sample,) = experiment.export_top_models(formatter='dict')
    (instance,) = experiment.export_top_models(formatter='instance')
    assert set(sample) == set(SPACES['ours']().simplify())
    assert instance.eval()(x).shape == (8, 7)


def test_unrolled_differs_from_first_order(search):
    gradients = []
    for hypergradient in (FirstOrder(), Unrolled(by='finite_difference'), Unrolled(by='exact')):
        torch.manual_seed(0)
        strategy = search(
            Search(hypergradient=hypergradient, arc_learning_rate=0.0),
            SPACES['ours'](),
            images=4,
            classes=7,
            limit_val_batches=0,
        )
        gradients.append(torch.stack([alpha.grad for alpha in strategy.oneshot_module.arch_parameters()]))
    first, difference, exact = gradients
    for other in (difference, exact):
        assert (first - other).norm() > 1e-2 * first.norm()
    assert not torch.equal(difference, exact)


@pytest.mark.parametrize('is_quick', [True, False], ids=['our layers', "torch's layers"])
@pytest.mark.parametrize('channels_last', [True, False])
def test_products_agree_on_a_real_supernet_between_its_kinks(channels_last, is_quick):
    """Float64 and a radius that crosses no rectifier's kink: finite differences equal double backward."""
    torch.manual_seed(0)
    supernet = Search(channels_last=channels_last).mutate_model(SPACES['ours']()).double()
    alphas = {n: p for n, p in supernet.named_parameters() if '_arch_alpha' in n}
    weights = {n: p for n, p in supernet.named_parameters() if '_arch_alpha' not in n}
    x, y = torch.randn(4, 3, 8, 8, dtype=torch.float64), torch.randint(7, (4,))

    def loss(parameters, targets):
        with frozen_statistics(supernet), quick_second_pass(supernet) if is_quick else nullcontext():
            logits = torch.func.functional_call(supernet, {**parameters, **targets}, (x,))
        return torch.nn.functional.cross_entropy(logits, y)

    vector = {n: torch.randn_like(p) for n, p in weights.items()}
    exact = implicit_product(loss, weights, alphas, vector)
    difference = implicit_product(loss, weights, alphas, vector, 'finite_difference', radius=1e-6)
    for name, value in exact.items():
        assert value.norm() > 1e-3
        torch.testing.assert_close(difference[name], value, rtol=1e-5, atol=1e-7)


def test_channels_last_keeps_the_network_in_that_layout(search):
    layouts = {}
    for channels_last in (True, False):
        torch.manual_seed(0)
        strategy = Search(channels_last=channels_last)
        supernet = strategy.mutate_model(SPACES['ours']())
        seen = []
        supernet.cells[0].register_forward_hook(lambda m, i, o, seen=seen: seen.append(o[-1]))
        supernet(torch.randn(2, 3, 8, 8))
        layouts[channels_last] = seen[0].is_contiguous(memory_format=torch.channels_last)
    assert layouts == {True: True, False: False}


@pytest.mark.parametrize('name', ['hub_darts', 'nasbench201', 'proxylessnas'])
def test_skips_and_entropy_are_logged_on_every_space(search, name):
    strategy = search(Search(), SPACES[name](), images=4, batch_size=2, size=32 if name == 'proxylessnas' else 8)
    logged = strategy.oneshot_module.trainer.callback_metrics
    rows = strategy.oneshot_module.export_probs().values()
    expected = [-sum(p * math.log(p) for p in row.values()) for row in rows]
    assert logged['entropy'].item() == pytest.approx(sum(expected) / len(expected), rel=1e-5)
    chosen = list(next(strategy.list_models()).sample.values())
    assert logged['skips'].item() == chosen.count('skip_connect')


def test_layout_that_torch_corrupts_is_not_used(caplog):
    narrow = Search().mutate_model(HubDARTS(width=2, num_cells=3, dataset='cifar'))
    assert not narrow._forward_pre_hooks and 'stays in the plain memory layout' in caplog.text
    assert Search().mutate_model(HubDARTS(width=4, num_cells=3, dataset='cifar'))._forward_pre_hooks


def test_frozen_model_carries_no_layout_hook():
    strategy = Search()
    supernet = strategy.mutate_model(SPACES['ours']())
    assert supernet._forward_pre_hooks and not SPACES['ours']()._forward_pre_hooks


class FirstEpoch(Callback):
    """The architecture after the first epoch, and how many epochs there were."""

    def on_train_epoch_end(self, trainer, module):
        if trainer.current_epoch == 0:
            self.logits = torch.stack([alpha.detach().clone() for alpha in module.arch_parameters()])
        self.epochs = trainer.current_epoch + 1


def test_schedule_sets_the_number_of_epochs_and_the_warmup(search):
    def run(schedule, rate=3e-4):
        torch.manual_seed(0)
        seen = FirstEpoch()
        strategy = search(
            Search(schedule=schedule, arc_learning_rate=rate),
            SPACES['ours'](),
            images=4,
            classes=7,
            epochs=3,
            callbacks=[seen],
        )
        return seen, torch.stack(strategy.oneshot_module.arch_parameters())

    (start, still), (warm, searched), (free, _) = run(SingleStage(), 0.0), run(SingleStage(2, 1)), run(SingleStage(2))
    assert (start.epochs, warm.epochs, free.epochs) == (3, 2, 2)
    assert torch.equal(warm.logits, start.logits) and torch.equal(start.logits, still)
    assert not torch.equal(free.logits, start.logits) and not torch.equal(searched, start.logits)


@pytest.mark.parametrize(
    ('arguments', 'error', 'message'),
    [
        ({'objective': WorstCase(reuse_gradient=True)}, ValueError, 'WorstCase.*FirstOrder.*hypergradient=Unrolled'),
        ({'channels_last': False, 'fast_cell': True}, ValueError, 'fast_cell=True needs channels_last=True'),
        ({'objective': 'worst_case'}, TypeError, 'objective must be one of the members'),
        ({'schedule': SingleStage}, TypeError, 'schedule must be one of the members'),
    ],
)
def test_combinations_that_cannot_work(arguments, error, message):
    with pytest.raises(error, match=message):
        Search(**arguments)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'epochs': 0}, 'epochs must be at least 1'),
        ({'warmup': -1}, 'warmup must be 0 or more'),
        ({'epochs': 2, 'warmup': 2}, 'leaves none of the 2 epochs'),
    ],
)
def test_bad_schedules(arguments, message):
    with pytest.raises(ValueError, match=message):
        SingleStage(**arguments)


class _Once(torch.autograd.Function):
    """The identity, which can be differentiated once."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        return gradient


class Noisy(Weighting):
    is_twice_differentiable = False

    def weights(self, alpha, moment):
        return _Once.apply(torch.softmax(alpha + torch.rand(alpha.shape, generator=moment.generator(alpha.device)), -1))


@pytest.mark.parametrize('by', ['exact', 'finite_difference'])
def test_weights_without_second_derivatives_are_unrolled_either_way(search, by):
    strategy = Search(relaxation=Noisy(), hypergradient=Unrolled(by))
    search(strategy, SPACES['ours'](), images=4, classes=7, limit_val_batches=0)
    assert all(alpha.grad.isfinite().all() and alpha.grad.any() for alpha in strategy.oneshot_module.arch_parameters())
    with pytest.raises(ValueError, match='Noisy has no second derivatives, of which HessianEigenvalue'):
        Search(relaxation=Noisy(), schedule=HessianEigenvalue())
    assert isinstance(presets.darts(relaxation=Noisy()).relaxation, Noisy)


RELAXATIONS = [
    Softmax(), Dirichlet(), Dirichlet(anchor='kl'), GumbelSoftmax(), GumbelSoftmax(hard=True), HardConcrete()
]


@pytest.mark.parametrize('relaxation', RELAXATIONS, ids=repr)
def test_products_agree_with_the_sample_of_a_moment(relaxation):
    """The exact product differentiates the mixing weights once, as a central difference does, at one sample."""
    torch.manual_seed(0)
    space = DARTS(width=4, num_cells=3, num_nodes=2, num_classes=7)
    supernet = Search(relaxation=relaxation).mutate_model(space).double()
    clock = cells_by_label(supernet)['normal'].mixer.clock
    alphas = {n: p for n, p in supernet.named_parameters() if '_arch_alpha' in n}
    weights = {n: p for n, p in supernet.named_parameters() if n not in alphas}
    x, y = torch.randn(4, 3, 8, 8, dtype=torch.float64), torch.randint(7, (4,))

    def loss(parameters, targets):
        with frozen_statistics(supernet), quick_second_pass(supernet):
            logits = torch.func.functional_call(supernet, {**parameters, **targets}, (x,))
        return torch.nn.functional.cross_entropy(logits, y)

    vector = {n: torch.randn_like(p) for n, p in weights.items()}
    products = []
    for seed in (0, 1):
        clock.moment = Moment(1, 2, seed=seed)
        exact = inner_gradient(loss, weights, alphas).product(vector)
        difference = implicit_product(loss, weights, alphas, vector, 'finite_difference', radius=1e-6)
        for name, value in exact.items():
            torch.testing.assert_close(difference[name], value, rtol=1e-5, atol=1e-7)
        products.append(torch.cat([value.flatten() for value in exact.values()]))
        assert products[-1].norm() > 1e-3
    assert products[0].equal(products[1]) is not relaxation.is_stochastic


@pytest.mark.parametrize('relaxation', [GumbelSoftmax(hard=True), HardConcrete()], ids=repr)
def test_products_of_few_operations_against_double_autograd(relaxation):
    """Of the cells that compute what was drawn, against torch's own second derivative of all operations at the same
    sample."""

    def parts(**arguments):
        torch.manual_seed(0)
        space = DARTS(width=4, num_cells=3, num_nodes=2, num_classes=7)
        supernet = Search(relaxation=relaxation, **arguments).mutate_model(space).double()
        cells_by_label(supernet)['normal'].mixer.clock.moment = Moment(0, 2, seed=5)  # warm: gates are not clamped
        alphas = {n: p for n, p in supernet.named_parameters() if '_arch_alpha' in n}
        return supernet, {n: p for n, p in supernet.named_parameters() if n not in alphas}, alphas

    supernet, weights, alphas = parts()
    x, y = torch.randn(4, 3, 8, 8, dtype=torch.float64), torch.randint(7, (4,))
    vector = {n: torch.randn_like(p) for n, p in weights.items()}

    def loss(parameters, targets):
        with frozen_statistics(supernet), quick_second_pass(supernet):
            logits = torch.func.functional_call(supernet, {**parameters, **targets}, (x,))
        return torch.nn.functional.cross_entropy(logits, y)

    found = inner_gradient(loss, weights, alphas).product(vector)
    plain, weights, alphas = parts(channels_last=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(relaxation), 'is_sparse', False)
        values = torch.nn.functional.cross_entropy(plain(x), y)
    first = torch.autograd.grad(values, list(weights.values()), create_graph=True, materialize_grads=True)
    scalar = torch.stack([(slope * vector[name]).sum() for name, slope in zip(weights, first)]).sum()
    for (name, value), expected in zip(found.items(), torch.autograd.grad(scalar, list(alphas.values()))):
        torch.testing.assert_close(value, expected, rtol=0, atol=1e-8, msg=lambda text, name=name: name + text)
        assert value.any()


@pytest.mark.parametrize(('strategy', 'warnings'), [(presets.darts, 1), (presets.wcnas, 0)])
def test_one_warning_of_a_tester_that_nothing_trains(caplog, strategy, warnings):
    space, evaluator = make_parts(limit=32, limit_val_batches=0)
    before = {name: value.clone() for name, value in evaluator.module.tester.state_dict().items()}
    run(strategy(), make=lambda: (space, evaluator))
    said = [message for message in caplog.messages if 'AverageCase trains neither the tester nor' in message]
    assert len(said) == warnings
    after = evaluator.module.tester.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items()) is bool(warnings)


def test_a_generator_with_a_stock_evaluator_says_what_is_missing(search):
    with pytest.raises(
        ValueError,
        match=r'SynthesizedValidation needs a tester with a generator, and this evaluator has none: use '
        r'SearchEvaluator\(data, tester=FQGAN',
    ):
        search(presets.dasgm(), SPACES['ours'](), classes=7)


def test_unrolled_with_adam_says_what_is_missing(search):
    with pytest.raises(ValueError, match=r'plain torch.optim.SGD.*Adam.*hypergradient=FirstOrder\(\)'):
        search(presets.darts_2nd(), SPACES['ours'](), images=4, classes=7, optimizer=torch.optim.Adam)


class Plain(LightningModule):
    """A module that keeps its network where it likes, with an optimiser and nothing else."""

    def __init__(self, network, name='model', kind=torch.optim.SGD):
        super().__init__()
        setattr(self, name, network)
        self.kind = kind

    def configure_optimizers(self):
        return self.kind(self.parameters(), 0.1)


def test_unrolled_with_adam_is_refused_before_the_first_step():
    strategy = presets.darts_2nd()
    module = strategy.configure_oneshot_module(
        Plain(strategy.mutate_model(SPACES['ours']()), kind=torch.optim.Adam)
    )
    with pytest.raises(ValueError, match='plain torch.optim.SGD.*Adam'):
        module.configure_optimizers()


@pytest.mark.parametrize('name', ['model', 'network'])
def test_the_training_module_alone_as_nnis(name):
    """As NNI's own tests use it: no evaluator, no `set_model`, and perhaps no `model` in the module."""
    found = []
    for strategy in (Search(), NNIDARTS()):
        torch.manual_seed(0)
        module = strategy.configure_oneshot_module(Plain(strategy.mutate_model(SPACES['ours']()), name))
        weights, architecture = module.configure_optimizers()[:2]
        sizes = [
            sorted(p.numel() for group in optimizer.param_groups for p in group['params'])
            for optimizer in (weights, architecture)
        ]
        found.append(sizes)
        assert sizes[1] and set(module.export())
    assert found[0][0] == found[1][0], 'the same weights; NNI has a hidden none beside each candidate'


def test_repr_evaluates_to_an_equal_search():
    strategy = presets.wcnas(trade_off=2.0, selection=Magnitude(by='logit'))
    names = {
        'Search': Search,
        'WorstCase': WorstCase,
        'Unrolled': Unrolled,
        'Magnitude': Magnitude,
        'SingleStage': SingleStage,
        'Softmax': Softmax,
        'NoSmoothing': NoSmoothing,
        'AverageCase': AverageCase,
        'FirstOrder': FirstOrder,
    }
    again = eval(repr(strategy), names)
    assert (
        again.objective == strategy.objective
        and again.selection == strategy.selection
        and again.hypergradient == strategy.hypergradient
    )


def test_diverged_search_is_stopped_with_a_sentence(search):
    with pytest.raises(DivergedError, match='diverged in epoch 0: .* not finite; lower the learning rates or clip'):
        search(Search(), SPACES['ours'](), images=8, classes=7, learning_rate=1e38)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'arc_learning_rate': -3.0}, 'arc_learning_rate must be 0 or more and finite, not -3.0'),
        ({'arc_learning_rate': float('nan')}, 'arc_learning_rate must be 0 or more'),
        ({'gradient_clip_val': -1.0}, 'gradient_clip_val must be positive and finite'),
        ({'log_prob_every_n_step': 0}, 'log_prob_every_n_step must be at least 1 batch, not 0'),
    ],
)
def test_bad_numbers(arguments, message):
    with pytest.raises(ValueError, match=message):
        Search(**arguments)


def test_a_warmup_as_long_as_the_search_is_refused(search):
    with pytest.raises(ValueError, match='warmup=5 leaves none of the 1 epochs'):
        search(presets.darts(schedule=SingleStage(warmup=5)), SPACES['ours'](), classes=7)


@pytest.mark.parametrize(
    ('objective', 'tester', 'sentence'),
    [
        (SelectedExamples(pairs=64), {}, 'this BigGAN was never trained, so that SelectedExamples begins'),
        (SynthesizedValidation(trains_tester=False), {}, 'so that SynthesizedValidation begins with images'),
        (SynthesizedValidation(), {'learns': 'architecture'}, "so learns='architecture' does nothing"),
        (SynthesizedValidation(), {}, None),
        (WorstCase(), {'learns': 'architecture'}, 'so that WorstCase begins with images of noise'),
    ],
)
def test_what_of_a_tester_does_nothing_is_said(objective, tester, sentence, caplog):
    """Once, and only then."""
    tester = BigGAN(10, image_size=16, width=4, latent=8, **tester)
    bring_tester(objective, make_parts(tester=tester)[1], None, learner_weights=0)
    assert [sentence in record.message for record in caplog.records] == [True] * (sentence is not None)


@pytest.mark.parametrize(
    ('strategy', 'data', 'is_said'),
    [
        (lambda: presets.wcnas('pc_darts'), {}, True),
        (lambda: presets.pc_darts(), {'shortcut': 'colour'}, True),
        (lambda: presets.wcnas('p_darts', 'cifar100'), {}, True),
        (lambda: presets.wcnas('pc_darts', 'other'), {}, False),
        (lambda: presets.wcnas('darts'), {}, False),  # Whose numbers are those of all data.
        (lambda: Search(arc_learning_rate=6e-4), {}, False),
    ],
)
def test_numbers_of_other_data_are_said(strategy, data, is_said, caplog):
    """And nothing else is; of data that are not known the same."""
    data = Digits(limit=40, batch_size=10, **data)
    evaluator, search = SearchEvaluator(data, max_epochs=75, accelerator='cpu'), strategy()
    search.mutate_model(DARTS(16, num_cells=3))
    search.mutate_evaluator(evaluator)
    said = [message for message in caplog.messages if "the preset has the paper's numbers for cifar" in message]
    assert len(said) == is_said and all(f'the data are {data.name} and' in message for message in said)


@pytest.mark.parametrize(('preset', 'is_said'), [(presets.pc_darts, True), (presets.darts, False)])
def test_numbers_are_said_beside_a_stock_evaluator(search, preset, is_said, caplog):
    search(preset(schedule=SingleStage()), DARTS(8, num_cells=3))
    assert ("the data are not known here and the preset has the paper's numbers for cifar10" in caplog.text) == is_said


def test_a_folder_of_a_known_name_is_any_folder(tmp_path, caplog):
    """Its images are not those of the data set of that name, as far as anybody knows."""
    for label in 'ab':
        (tmp_path / 'cifar10' / label).mkdir(parents=True)
        for number in range(10):
            Image.new('RGB', (8, 8)).save(tmp_path / 'cifar10' / label / f'{number}.png')
    data = ImageFolder(tmp_path / 'cifar10', image_size=8, batch_size=2)
    for dataset in ('imagenet', 'other', 'cifar10'):  # ImageNet is a folder, and is asked for by its name.
        assert "the preset has the paper's numbers" not in caplog.text
        search = presets.pc_darts(dataset)
        search.mutate_model(DARTS(16, num_cells=3, num_classes=2))
        search.mutate_evaluator(SearchEvaluator(data, max_epochs=50, accelerator='cpu'))
    assert data.name == 'cifar10' and "the preset has the paper's numbers for cifar10" in caplog.text
