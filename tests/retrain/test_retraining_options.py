"""The options of a retraining beyond the recipe of DARTS: each does what it claims, and a resumed one ends alike."""

import itertools

import pytest
import torch
from timm.utils import ModelEmaV3
from torch import nn
from torch._dynamo.utils import counters

from nni_wcnas.data.augmentation import normalise
from nni_wcnas.network.cell_network import DropPath
from nni_wcnas.retrain.retraining import Retraining, RetrainingRecipe, retrain

QUICK = {'epochs': 2, 'channels': 2, 'cells': 3, 'accelerator': 'cpu', 'progress': False}


class Seen(nn.Module):
    """A line that remembers the images it was shown in training, and what its output was computed in."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 3)
        self.images, self.dtypes = [], set()

    def forward(self, images):
        logits = self.layer(images.mean(dim=(2, 3)))
        if self.training:
            self.images.append(images)
            self.dtypes.add(logits.dtype)
        return logits


def weights(network):
    return torch.cat([value.double().flatten() for value in network.state_dict().values()])


def with_pixels(data):
    data.mean, data.std = (0.5, 0.4, 0.3), (0.25, 0.2, 0.3)
    return data


@pytest.fixture(scope='module')
def default():
    from tiny_data import DARTS_V2, TinyData

    from nni_wcnas.spaces.architecture import Architecture

    return weights(retrain(Architecture.from_genotype(DARTS_V2), TinyData(), **QUICK).network)


@pytest.mark.parametrize(
    'change',
    [{'label_smoothing': 0.1}, {'warmup': 1, 'lr': 0.03}, {'ema_decay': 0.5}, {'precision': 'bf16-mixed'},
     {'fast_cell': False}, {'adversarial_steps': 1}],
    ids=str,
)
def test_every_option_matters(architecture, tiny, default, change):
    changed = weights(retrain(architecture, with_pixels(tiny()), **QUICK, **change).network)
    assert changed.shape == default.shape and not torch.equal(changed, default)
    if 'fast_cell' in change:
        torch.testing.assert_close(changed, default, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    'change',
    [{'ema_decay': 0.5}, {'precision': 'bf16-mixed'}, {'adversarial_steps': 2},
     {'channels_last': True, 'fast_cell': False}],
    ids=str,
)
def test_resumed_ends_in_the_same_bits(architecture, tiny, tmp_path, change):
    class Stopped(tiny):
        def batch(self, *key):
            if key[:2] == (1, 1):
                raise KeyboardInterrupt
            return super().batch(*key)

    whole = retrain(architecture, with_pixels(tiny()), directory=tmp_path / 'whole', **QUICK, **change)
    with pytest.raises(KeyboardInterrupt):
        retrain(architecture, with_pixels(Stopped()), directory=tmp_path / 'run', **QUICK, **change)
    resumed = retrain(architecture, with_pixels(tiny()), directory=tmp_path / 'run', resume=True, **QUICK, **change)
    assert len(resumed.history) == 2 and resumed.history == whole.history
    assert torch.equal(weights(resumed.network), weights(whole.network))


def test_average_by_hand(tiny):
    class Noted(tiny):
        def batch(self, *key):
            noted.append({name: value.clone() for name, value in network.state_dict().items()})
            return super().batch(*key)

    noted, network = [], Seen()
    start = {name: value.clone() for name, value in network.state_dict().items()}
    moving = retrain(Seen_like(start), tiny(batches=3), **{**QUICK, 'epochs': 1}).network.state_dict()
    average = retrain(network, Noted(batches=3), **{**QUICK, 'epochs': 1}, ema_decay=0.75).network.state_dict()
    for name, expected in start.items():
        for step in (*(state[name] for state in noted[1:]), moving[name]):
            expected = 0.75 * expected + 0.25 * step
        torch.testing.assert_close(average[name], expected)


def Seen_like(state):
    network = Seen()
    network.load_state_dict(state)
    return network


def test_what_is_evaluated_is_the_average(architecture, tiny, tmp_path):
    result = retrain(architecture, tiny(), directory=tmp_path, **QUICK, ema_decay=0.5)
    state = torch.load(tmp_path / 'checkpoints' / 'last.ckpt', weights_only=True)
    found = result.network.state_dict()
    assert state['network'].keys() == state['moving'].keys() == found.keys()
    assert all(torch.equal(state['network'][name], found[name]) for name in found)
    assert not all(torch.equal(state['moving'][name], found[name]) for name in found)


def test_label_smoothing_by_hand(tiny):
    network, data = Seen(), tiny(batches=1)
    reference = Seen_like(network.state_dict())
    batch = data.batch(1, 0, 0)
    logs = reference(batch.images).log_softmax(1)
    target = 0.7 * nn.functional.one_hot(batch.labels, 3) + 0.3 / 3
    (-(target * logs).sum(1).mean()).backward()
    retrain(network, data, **{**QUICK, 'epochs': 1}, label_smoothing=0.3, lr=0.5, momentum=0, weight_decay=0)
    for mine, other in zip(network.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(mine, other - 0.5 * other.grad)


def test_layout_and_precision(tiny):
    for numbers, layout, dtype in (({}, torch.contiguous_format, torch.float32),
                                   ({'channels_last': True}, torch.channels_last, torch.float32),
                                   ({'precision': 'bf16-mixed'}, torch.contiguous_format, torch.bfloat16)):
        network = Seen()
        retrain(network, tiny(batches=1), **{**QUICK, 'epochs': 1}, **numbers)
        assert network.images[0].is_contiguous(memory_format=layout) and network.dtypes == {dtype}
        assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}


def test_attacked_images(tiny):
    """Within 8/255 of the pixels, in [0, 1], and worse for the network than what it was given."""
    network, data = Seen(), with_pixels(tiny(batches=1))
    before = Seen_like(network.state_dict())
    retrain(network, data, **{**QUICK, 'epochs': 1}, adversarial_steps=3)
    batch = data.batch(1, 0, 0)
    shift, scale = (torch.tensor(values)[:, None, None] for values in (data.mean, data.std))
    given, shown = (batch.images * scale + shift).clamp(0, 1), network.images[0] * scale + shift
    assert 0.9 * 8 / 255 < (shown - given).abs().max() < 8 / 255 + 1e-5
    assert shown.min() > -1e-5 and shown.max() < 1 + 1e-5
    losses = [nn.functional.cross_entropy(before(images), batch.labels)
              for images in (network.images[0], normalise(given, data.mean, data.std))]
    assert losses[0] > losses[1]


def test_attacks_start_elsewhere_in_each_epoch_of_each_seed(tiny):
    """The same batch and the same weights, which do not learn: only the starts of the attacks differ."""

    class Alike(tiny):
        def batch(self, *key):
            return super().batch(0)

    shown = {}
    for seed in (0, 1):
        network = Seen()
        network.load_state_dict({name: torch.ones_like(value) for name, value in network.state_dict().items()})
        quick = {**QUICK, 'lr': 0.0, 'adversarial_steps': 1, 'seed': seed}
        retrain(network, with_pixels(Alike(batches=2)), **quick)
        # Two epochs of two batches.
        shown |= {(seed, number // 2, number % 2): images for number, images in enumerate(network.images)}
    assert len(shown) == 8 and all(
        not torch.equal(shown[one], shown[other]) for one, other in itertools.combinations(shown, 2))


def test_attacks_need_the_normalisation(architecture, tiny):
    with pytest.raises(ValueError, match='adversarial_steps attack pixels, but the data have no mean and std'):
        retrain(architecture, tiny(), **QUICK, adversarial_steps=1)


def test_average_is_timms(tiny):
    module = Retraining(nn.Linear(1, 1), tiny(), RetrainingRecipe(ema_decay=0.5))
    assert isinstance(module.average, ModelEmaV3)
    assert Retraining(nn.Linear(1, 1), tiny(), RetrainingRecipe()).average is None


@pytest.mark.slow
def test_compiled(architecture, tiny):
    """The same training up to rounding; a new chance of dropping paths in each epoch compiles nothing anew."""
    quick = {**QUICK, 'drop_path': 0.0}
    plain, compiled = (weights(retrain(architecture, tiny(), **quick, compile=on).network) for on in (False, True))
    torch.testing.assert_close(compiled, plain, rtol=1e-2, atol=1e-2)
    assert not torch.equal(compiled, plain)
    counts = []
    for epochs in (2, 5):
        torch._dynamo.reset()
        counters.clear()
        retrain(architecture, tiny(), **{**QUICK, 'epochs': epochs}, drop_path=0.5, compile=True)
        counts.append(counters['stats']['unique_graphs'])
    assert counts[0] == counts[1] > 0


def test_drop_path_of_compiled_networks():
    """Its chance is data: drops that share of the examples, scales the others, and follows a change."""
    drop = DropPath(0.0)
    drop.keep_as_data()
    images = torch.ones(4000, 1, 1, 1)
    assert torch.equal(drop(images), images) and not drop.state_dict()
    drop.set_probability(0.25)
    dropped = drop(images)
    assert dropped.unique().tolist() == pytest.approx([0.0, 1 / 0.75])
    assert abs((dropped == 0).double().mean() - 0.25) < 0.05
    assert torch.equal(drop.eval()(images), images)
