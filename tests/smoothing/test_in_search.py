"""Smoothing inside a search: in the weight step only, on the weights that the cells mix with, and always undone."""

import pytest
import torch
from pytorch_lightning.callbacks import Callback
from staged_search import run

from nni_wcnas import AdversarialSmoothing, NoSmoothing, RandomSmoothing, WorstCase
from nni_wcnas.supernet.choices import cells_by_label

SMOOTHINGS = [RandomSmoothing(0.3, 0.3), AdversarialSmoothing(0.3, 0.3, steps=2)]


class Spy(Callback):
    """How far the normal cell's weights are from the relaxation's, in passes of the weight step and in all others."""

    def __init__(self):
        self.own, self.other, self.moved, self.logits = [], [], [], []

    def on_train_start(self, trainer, module):
        cell = cells_by_label(module.model)['normal']
        norm = next(layer for layer in module.model.modules() if isinstance(layer, torch.nn.BatchNorm2d))

        def look(*_):
            far = (cell.mixer.weights(cell.logits) - cell.logits.softmax(-1)).abs().max()
            (self.other if cell.logits.requires_grad else self.own).append(float(far))

        cell.register_forward_pre_hook(look)
        self.norm, self.cell = norm, cell

    def on_train_batch_end(self, trainer, module, *_):
        self.moved.append(int(self.norm.num_batches_tracked))
        self.logits.append(self.cell.mixer.weights(self.cell.logits).detach().clone())
        assert torch.equal(self.logits[-1], self.cell.logits.softmax(-1)), 'what was held is let go'


def spied(smoothing, **members):
    spy = Spy()
    strategy = run(callbacks=(spy,), members={'smoothing': smoothing, **members})
    return strategy, spy


@pytest.mark.parametrize('smoothing', SMOOTHINGS, ids=lambda member: type(member).__name__)
def test_the_weights_learn_under_other_weights_and_the_architecture_does_not(smoothing):
    _, spy = spied(smoothing)
    assert max(spy.own) > 0.01, 'perturbed'
    assert spy.other and max(spy.other) == 0.0, 'the architecture step is at the architecture'


@pytest.mark.parametrize('smoothing', SMOOTHINGS, ids=lambda member: type(member).__name__)
def test_statistics_move_as_often_as_without(smoothing):
    assert spied(smoothing)[1].moved == spied(NoSmoothing())[1].moved


def test_a_radius_of_nearly_nothing_changes_nearly_nothing():
    """The trained weights then are those without smoothing, and far from them with a real one."""

    def weights(smoothing):
        strategy, _ = spied(smoothing)
        return torch.cat([p.detach().flatten() for n, p in strategy.supernet.named_parameters() if '_arch' not in n])

    plain, near, far = (weights(s) for s in (NoSmoothing(), RandomSmoothing(1e-6, 0.0), RandomSmoothing(0.3, 0.3)))
    assert (near - plain).norm() < 1e-3 * (far - plain).norm()


def test_held_weights_are_let_go_when_the_loss_fails():
    class Failing(WorstCase):
        def weight_loss(self, step):
            raise RuntimeError('no loss')

    spy = Spy()
    with pytest.raises(RuntimeError, match='no loss'):
        run(callbacks=(spy,), has_tester=True, members={'smoothing': SMOOTHINGS[0], 'objective': Failing()})
    assert torch.equal(spy.cell.mixer.weights(spy.cell.logits), spy.cell.logits.softmax(-1))
