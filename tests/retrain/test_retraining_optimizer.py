"""The optimiser of a retraining: plain SGD as ever, and timm's by name, each a training that resumes."""

import pytest
import torch
from timm.scheduler import CosineLRScheduler
from torch import nn

from nni_wcnas.files.run_directory import RunDirectory
from nni_wcnas.retrain.optimizer import make_optimizer, optimizer_names
from nni_wcnas.retrain.retraining import RetrainingError, RetrainingRecipe, retrain

QUICK = {'epochs': 1, 'accelerator': 'cpu', 'progress': False}
NUMBERS = {'lr': 0.05, 'momentum': 0.8, 'weight_decay': 0.1, 'gradient_clip_val': 0.0}


class Line(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 3)

    def forward(self, images):
        return self.layer(images.mean(dim=(2, 3)))


def weights(network):
    return torch.cat([value.flatten() for value in network.state_dict().values()])


def by_hand(data, make, steps):
    """What a loop of its own makes of the first network of seed 0."""
    torch.manual_seed(0)
    network = Line()
    optimizer = make(network.parameters())
    for step in range(steps):
        batch = data.batch(1, 0, step)
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(batch.images), batch.labels).backward()
        optimizer.step()
    return weights(network)


def trained(data, **numbers):
    torch.manual_seed(0)
    return weights(retrain(Line(), data, **{**QUICK, **NUMBERS, **numbers}).network)


@pytest.mark.parametrize(
    ('name', 'make'),
    [
        ('sgd', lambda weights: torch.optim.SGD(weights, 0.05, 0.8, weight_decay=0.1, foreach=True)),
        ('nesterov', lambda weights: torch.optim.SGD(weights, 0.05, 0.8, weight_decay=0.1, nesterov=True)),
        ('adamw', lambda weights: torch.optim.AdamW(weights, 0.05, weight_decay=0.1)),
        ('rmsprop', lambda weights: torch.optim.RMSprop(weights, 0.05, alpha=0.9, momentum=0.8, weight_decay=0.1)),
    ],
)
def test_by_hand(tiny, name, make):
    """Biases decay too, as in the papers; SGD of the papers to the bit."""
    expected = by_hand(tiny(batches=3), make, 3)
    found = trained(tiny(batches=3), optimizer=name)
    torch.testing.assert_close(found, expected)
    assert torch.equal(found, trained(tiny(batches=3))) == (name == 'sgd')
    assert name != 'sgd' or torch.equal(found, expected)


def test_names():
    assert type(make_optimizer(Line().parameters(), 'sgd', 0.1, 0.9, 0.0)) is torch.optim.SGD
    assert {'adamw', 'lamb', 'lion', 'muon', 'momentum', 'nesterov'} <= set(optimizer_names())
    assert type(make_optimizer(Line().parameters(), 'lookahead_adamw', 0.1, 0.9, 0.0)).__name__ == 'Lookahead'


@pytest.mark.parametrize(
    ('numbers', 'message'),
    [
        ({'optimizer': 'AdamW'}, "optimizer='AdamW' is none of those of timm that .* did you mean 'adamw'?"),
        ({'optimizer': 'adahessian'}, "optimizer='adahessian' is none"),  # Of second derivatives.
        ({'optimizer': 'nesterov', 'momentum': 0.0}, "optimizer='nesterov' cannot be made here .*requires a"),
    ],
)
def test_errors(numbers, message):
    with pytest.raises(ValueError, match=message):
        RetrainingRecipe(**numbers)


def test_checkpoint_of_another(tiny, tmp_path):
    """Refused, and the checkpoint stays as it is."""
    numbers = {**QUICK, 'epochs': 2, 'directory': tmp_path, 'resume': True}
    retrain(Line(), tiny(), **numbers)
    path = RunDirectory(tmp_path).checkpoint
    state = torch.load(path, weights_only=True)
    with pytest.raises(RetrainingError, match="last.ckpt was made with optimizer='sgd', not 'adamw': give"):
        retrain(Line(), tiny(), optimizer='adamw', **numbers)
    assert torch.equal(weights(retrain(Line(), tiny(), **numbers).network), weights_of(state))


def weights_of(state):
    return torch.cat([value.flatten() for value in state['network'].values()])


@pytest.mark.slow
@pytest.mark.filterwarnings('ignore:It is highly recommended to have')
@pytest.mark.parametrize('name', [*optimizer_names(), 'lookahead_adamw'])
def test_resumed_ends_in_the_same_bits(tiny, tmp_path, name):
    class Stopped(tiny):
        def batch(self, *key):
            if key[:2] == (1, 1):
                raise KeyboardInterrupt
            return super().batch(*key)

    numbers = {**NUMBERS, **QUICK, 'epochs': 2, 'lr': 0.01, 'optimizer': name}
    try:
        RetrainingRecipe(optimizer=name)
    except ValueError as error:
        pytest.skip(str(error))
    networks = [Line(), Line()]
    networks[1].load_state_dict(networks[0].state_dict())
    before = weights(networks[0])
    whole = retrain(networks[0], tiny(batches=7), **numbers)
    with pytest.raises(KeyboardInterrupt):
        retrain(networks[1], Stopped(batches=7), directory=tmp_path, **numbers)
    resumed = retrain(networks[1], tiny(batches=7), directory=tmp_path, resume=True, **numbers)
    assert torch.equal(weights(resumed.network), weights(whole.network))
    assert not torch.equal(weights(whole.network), before) and weights(whole.network).isfinite().all()


@pytest.mark.parametrize('least', [0.0, 0.01])
def test_cosine_is_timms(least):
    """The same rate in every epoch; ours needs no state. Its warm-up is another: timm's begins at a rate of its own."""
    recipe = RetrainingRecipe(epochs=50, lr=0.1, min_lr=least)
    optimizer = make_optimizer(Line().parameters(), 'sgd', recipe.lr, 0.9, 3e-4)
    schedule = CosineLRScheduler(optimizer, t_initial=50, lr_min=least)
    for epoch in range(50):
        schedule.step(epoch)
        assert optimizer.param_groups[0]['lr'] == pytest.approx(recipe.lr_at(epoch), rel=1e-12)
