"""The search's Lightning module: what NNI and Lightning call, handed on to the parts of a search."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from nni.nas.oneshot.pytorch.differentiable import DartsLightningModule
from nni.nas.oneshot.pytorch.supermodule.base import BaseSuperNetModule
from pytorch_lightning import LightningModule
from torch import Tensor, nn

from nni_wcnas.contracts import Batch, Parameters
from nni_wcnas.functional.random_state import restore_random_state
from nni_wcnas.functional.scores import entropy
from nni_wcnas.search.adversary import Adversary
from nni_wcnas.search.iteration import Iteration
from nni_wcnas.search.learner import require_plain_sgd
from nni_wcnas.search.members import Members
from nni_wcnas.search.optimizers import adversary_optimizers, architecture_optimizer, together, two_lists
from nni_wcnas.search.parameter_groups import ParameterGroups
from nni_wcnas.search.resume import restore_stage, state_of
from nni_wcnas.search.staging import Stages
from nni_wcnas.search.transition import enter_stage
from nni_wcnas.search.view import SupernetView
from nni_wcnas.supernet import Clock
from nni_wcnas.supernet.choices import RelaxedChoice, relaxed_cells, relaxed_choices

__all__ = ['SearchModule']


class SearchModule(DartsLightningModule):
    """NNI's DARTS module with an objective, a hypergradient and a smoothing instead of one fixed architecture loss.

    It owns three disjoint groups of parameters: the weights (the supernet without its architecture), the architecture,
    and the adversary (the tester's networks and hyper-parameters, the auxiliary model). The batch holds ``'train'`` and
    ``'val'``, as in NNI.

    Parameters
    ----------
    training_module
        The evaluator's module, with the supernet as ``model``.
    members
        The members of the axes.
    stages
        The schedule's stages, all of known length.
    clock
        Tells the supernet's mixers the moment.
    build_supernet
        Makes another supernet of a number of cells and a :attr:`~nni_wcnas.contracts.Transform.share`.
    arc_weight_decay
        L2 penalty of the architecture's optimiser.
    arc_gradient_clip_val
        Largest norm of the architecture's gradient; None does not clip.
    **kwargs
        Arguments of NNI's ``DartsLightningModule``.
    """

    def __init__(
        self,
        training_module: LightningModule,
        *,
        members: Members,
        stages: Stages,
        clock: Clock,
        build_supernet: Callable[[int | None, int | None], nn.Module],
        arc_weight_decay: float,
        arc_gradient_clip_val: float | None,
        **kwargs: Any,
    ) -> None:
        super().__init__(training_module, **kwargs)
        self.relaxation, self.smoothing, self.schedule = members.relaxation, members.smoothing, members.schedule
        self.objective, self.hypergradient = members.objective, members.hypergradient
        self.stages, self.clock, self.build_supernet = stages, clock, build_supernet
        self.arc_weight_decay, self.arc_gradient_clip_val = arc_weight_decay, arc_gradient_clip_val
        self.adversary: Adversary | None = None
        """Tester and auxiliary model for an evaluator that has none; None where the evaluator has its own."""
        self.last_validation_batch: Batch | None = None
        self.memory: Parameters = {}
        """Tensors of the objective, saved in checkpoints."""
        self.stopped_with: dict[str, Any] | None = None
        """The sample with which the schedule has ended the search; None while it goes on."""
        self.hyperparameter_optimizer: torch.optim.Optimizer | None = None
        self.view, self.iteration = SupernetView(self), Iteration(self)
        # Before `configure_optimizers` is called, which reads the annealing of the first stage.
        self.begin_annealing(0)
        self._restored_random_state: dict[str, Any] | None = None
        self._forget()

    # ------------------------------------------------------------------------------------------------------------
    # parameters, optimisers

    def _forget(self) -> None:
        """Look for the modules and parameters of the supernet anew when they are next asked for."""
        self._supernet_modules: list[BaseSuperNetModule] | None = None
        self._relaxed_choices: dict[str, RelaxedChoice] | None = None
        self._groups: ParameterGroups | None = None

    def set_model(self, model: nn.Module) -> None:
        """Search in a supernet from here on, and forget what was found in another."""
        super().set_model(model)
        self._forget()

    def supernet_modules(self) -> list[BaseSuperNetModule]:
        """Return what replaced the choices of the space; found once, as a walk through the supernet is slow."""
        if self._supernet_modules is None:
            self._supernet_modules = list(super().supernet_modules())
        return self._supernet_modules

    def choices(self) -> dict[str, RelaxedChoice]:
        """Return the relaxed types of cells and single choices by label; found once as well."""
        if self._relaxed_choices is None:
            self._relaxed_choices = relaxed_choices(self.model)
        return self._relaxed_choices

    def begin_annealing(self, index: int) -> None:
        """Tell the evaluator how the weights' learning rate falls from a stage on; a stock evaluator is not told."""
        if hasattr(self.training_module, 'annealing'):
            self.training_module.annealing = self.stages.annealing(index)

    @property
    def groups(self) -> ParameterGroups:
        """A and W of the supernet."""
        if self._groups is None:
            # NNI's module can do without `set_model`: what it wraps then need not have a `model` at all.
            supernet = getattr(self.training_module, 'model', None)
            root = supernet if isinstance(supernet, nn.Module) else self.training_module
            self._groups = ParameterGroups(root, self.supernet_modules())
        return self._groups

    def architecture(self) -> dict[str, nn.Parameter]:
        """Return A: the architecture parameters by their name in the supernet, sorted."""
        return self.groups.architecture

    def weights(self) -> dict[str, nn.Parameter]:
        """Return W: all other parameters of the supernet by name."""
        return self.groups.weights

    def arch_parameters(self) -> list[nn.Parameter]:
        """Return A as a list, in the same order in every run; NNI's own order is that of a set."""
        return list(self.architecture().values())

    def configure_architecture_optimizers(self) -> torch.optim.Optimizer:
        """Return Adam (0.5, 0.999) on A, as in all of the papers."""
        return architecture_optimizer(self.arch_parameters(), self.arc_learning_rate, self.arc_weight_decay)

    def configure_optimizers(self) -> Any:
        """Return the optimisers of the weights, the adversary and the architecture, in this order."""
        # NNI takes A out of the weight optimiser, marks the architecture's own and puts it last.
        configured = super().configure_optimizers()
        optimizers, schedulers = two_lists(configured)
        # Before the first step, not at the first that looks ahead, which a warm-up puts off for hours.
        if self.hypergradient.unrolls:
            require_plain_sgd(optimizers[0])
        # As NNI gives them where nothing comes in between: one that names a metric to monitor keeps it.
        if not self.objective.needs_tester:
            return configured
        home = self.adversary_home
        adversary = adversary_optimizers(self.objective, home.tester, home.auxiliary, self.trainer.max_epochs)
        named = {each.name: each.optimizer for each in adversary}
        self.hyperparameter_optimizer = named.get('hyperparameters')
        return together(optimizers, schedulers, adversary) if adversary else configured

    @property
    def adversary_home(self) -> Any:
        """The module whose ``tester`` and ``auxiliary`` are the search's: the evaluator's, or our own."""
        return self.training_module if self.adversary is None else self.adversary

    def weight_optimizer(self) -> Any:
        """Return the optimiser of W, wrapped by Lightning."""
        return self.optimizers()[0]

    # ----------------------------------------------------------------------------------------------------------------
    # one search iteration

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Any:
        """Update A and B if they are due, then W, then the adversary: algorithm 1 of papers/wcnas."""
        # True once the warm-up is over. `warmup_epochs` is the epoch of the whole
        # search at which that of this stage ends.
        output = self.iteration(batch, batch_idx, is_warm=self.trainer.current_epoch >= self.warmup_epochs)
        self.advance_lr_schedulers(batch_idx)
        if batch_idx % self.log_prob_every_n_step == 0:
            # The only moment at which the processor waits for a GPU.
            self.iteration.refuse_divergence(self.iteration.losses)
            self.log_probs(self.export_probs())
        return output

    def resample(self) -> Any:
        """Draw a new seed for a stochastic relaxation, and whatever NNI's own choices sample."""
        if self.relaxation.is_stochastic:
            seed = int(torch.randint(2**62, ()))
            self.clock.moment = self.clock.moment._replace(seed=seed)
        return super().resample()

    def advance_optimization(
        self,
        loss: Tensor,
        batch_idx: int,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Zero, backward, clip and step, on the optimiser of the weights alone."""
        # NNI's own method steps every optimiser that is not the architecture's, and raises where there are
        # several: the adversary's are among them here.
        optimizer = self.weight_optimizer()
        self.training_module.optimizer_zero_grad(self.trainer.current_epoch, batch_idx, optimizer)
        self.manual_backward(loss)
        self.training_module.configure_gradient_clipping(optimizer, gradient_clip_val, gradient_clip_algorithm)
        self.training_module.optimizer_step(self.trainer.current_epoch, batch_idx, optimizer)

    def validation_step(self, batch: Any, batch_idx: int) -> Any:
        """Run the evaluator's validation step."""
        return self.training_module.validation_step(batch, batch_idx)

    def on_validation_epoch_end(self) -> None:
        """Run what the evaluator does after validation."""
        self.training_module.on_validation_epoch_end()

    def on_train_epoch_start(self) -> None:
        """Put back the random state of a resumed run; enter the epoch's stage."""
        # Not in `on_load_checkpoint`: between the two, Lightning builds loaders, which draw from the global state.
        if self._restored_random_state is not None:
            restore_random_state(self._restored_random_state)
            self._restored_random_state = None
            if not hasattr(self.training_module, 'set_epoch'):
                # A stock evaluator's loaders draw from this state, and Lightning has begun with them already.
                iter(self.trainer.fit_loop._data_fetcher)
        epoch = self.trainer.current_epoch
        self.warmup_epochs = self.stages.warmup_end(epoch)
        index = self.stages.starts_at(epoch)
        # Before NNI's hook, which freezes or frees A by `warmup_epochs`: it must see the stage's own supernet.
        if index is not None:
            enter_stage(self, index)
        super().on_train_epoch_start()
        self.clock.moment = self.stages.moment(epoch, self.clock.moment.seed)
        # Modules of transforms (dropout) follow the moment; the schedule comes last, as
        # it looks at the supernet of this epoch.
        for cell in relaxed_cells(self.model):
            cell.update(self.clock.moment)
        self.schedule.begin_epoch(self.view, self.clock.moment)

    def on_train_epoch_end(self) -> None:
        """Log what the architecture looks like, refuse a search that diverged, and ask the schedule whether to stop."""
        super().on_train_epoch_end()
        self.iteration.refuse_divergence({**self.iteration.losses, **self.architecture()})
        # One row of probabilities for each edge or choice; their lengths may differ, so they are not stacked.
        rows = [torch.tensor(list(row.values())) for row in self.export_probs().values()]
        if rows:
            self.log('entropy', torch.stack([entropy(row) for row in rows]).mean())
            self.log('skips', float(sum(chosen == 'skip_connect' for chosen in self.export().values())))
        if self.objective.needs_tester:
            self.log_dict(self.adversary_home.tester.values())
        self.stopped_with = self.schedule.end_epoch(self.view, self.clock.moment)
        if self.stopped_with is not None:
            self.trainer.should_stop = True

    def export_probs(self) -> dict[str, Any]:
        """Return what a selection sees, by choice and candidate; nothing is drawn for it."""
        with self.clock.at_rest():
            return super().export_probs()

    def export(self) -> dict[str, Any]:
        """Return the sample that a stop rule has chosen, or that of the architecture as it is."""
        return super().export() if self.stopped_with is None else dict(self.stopped_with)

    # ----------------------------------------------------------------------------------------------------------- resume

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what Lightning does not: random state, next epoch, stage, pruning, and the memories of schedule and
        objective."""
        checkpoint['nni_wcnas'] = state_of(self)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the stage, remember the random state for the next epoch, and tell the data which epoch that is."""
        state = checkpoint['nni_wcnas']
        self._restored_random_state = state['random_state']
        restore_stage(self, state)
        set_epoch = getattr(self.training_module, 'set_epoch', None)
        if set_epoch is not None:
            set_epoch(state['next_epoch'])
