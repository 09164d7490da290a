"""The only training step: architecture and tester first, then the weights, then the adversary's own networks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import Any

import torch
from nni.nas.oneshot.pytorch.differentiable import DartsLightningModule
from nni.nas.oneshot.pytorch.supermodule.base import BaseSuperNetModule
from pytorch_lightning import LightningModule
from torch import Tensor, nn

from nni_wcnas.contracts import (
    ArchitectureUpdate,
    Batch,
    Hypergradient,
    Losses,
    NamedOptimizer,
    Objective,
    Parameters,
    Schedule,
    Smoothing,
    Step,
    Weighting,
)
from nni_wcnas.functional.frozen import constants
from nni_wcnas.functional.hypergradient import full_precision
from nni_wcnas.functional.scores import entropy
from nni_wcnas.search.adversary import Adversary
from nni_wcnas.search.learner import SupernetLearner
from nni_wcnas.search.staging import Stages
from nni_wcnas.search.transition import apply_pruning, enter_stage, pruning_of, rebuild
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
    relaxation, objective, hypergradient, smoothing, schedule
        Members of the axes.
    stages
        Of the schedule.
    clock
        Of the supernet's mixers.
    build_supernet
        Makes another supernet of a number of cells and a :attr:`~nni_wcnas.contracts.Transform.share`.
    arc_weight_decay, arc_gradient_clip_val
        Of the architecture's optimiser.
    **kwargs
        Those of NNI's ``DartsLightningModule``.
    """

    def __init__(
        self,
        training_module: LightningModule,
        *,
        relaxation: Weighting,
        objective: Objective,
        hypergradient: Hypergradient,
        smoothing: Smoothing,
        schedule: Schedule,
        stages: Stages,
        clock: Clock,
        build_supernet: Callable[[int | None, int | None], nn.Module],
        arc_weight_decay: float,
        arc_gradient_clip_val: float | None,
        **kwargs: Any,
    ) -> None:
        super().__init__(training_module, **kwargs)
        self.relaxation, self.smoothing, self.schedule = relaxation, smoothing, schedule
        self.objective, self.hypergradient = objective, hypergradient
        self.stages, self.clock, self.build_supernet = stages, clock, build_supernet
        self.arc_weight_decay, self.arc_gradient_clip_val = arc_weight_decay, arc_gradient_clip_val
        self.adversary: Adversary | None = None
        """Tester and auxiliary model for a training module that has none."""
        self.view = SupernetView(self)
        self.last_validation_batch: Batch | None = None
        self.memory: Parameters = {}
        self._stopped_with: dict[str, Any] | None = None
        self._relaxed_choices: dict[str, RelaxedChoice] | None = None
        self.begin_annealing(0)
        self._restored_random_state: Tensor | None = None
        self._losses: Losses = {}
        self._supernet_modules: list[BaseSuperNetModule] | None = None
        self._parameter_aliases: dict[str, str] | None = None
        self._parameter_groups: tuple[dict[str, nn.Parameter], dict[str, nn.Parameter]] | None = None
        self._hyperparameter_optimizer: torch.optim.Optimizer | None = None

    # ------------------------------------------------------------------------------------------------------------
    # parameters, optimisers

    def supernet_modules(self) -> list[BaseSuperNetModule]:
        """What replaced the choices of the space; found once, as a walk through the supernet is slow."""
        if self._supernet_modules is None:
            self._supernet_modules = list(super().supernet_modules())
        return self._supernet_modules

    def choices(self) -> dict[str, RelaxedChoice]:
        """What is relaxed, by label; found once as well."""
        if self._relaxed_choices is None:
            self._relaxed_choices = relaxed_choices(self.model)
        return self._relaxed_choices

    def change_model(self, supernet: nn.Module) -> None:
        """Search in another supernet from here on."""
        self.set_model(supernet)
        self._supernet_modules = self._relaxed_choices = None
        self._parameter_aliases = self._parameter_groups = None

    def begin_annealing(self, index: int) -> None:
        """Tell the evaluator how the weights' learning rate falls from a stage on, if it can be told."""
        if hasattr(self.training_module, 'annealing'):
            self.training_module.annealing = self.stages.annealing(index)

    def architecture(self) -> dict[str, nn.Parameter]:
        """A: the architecture parameters by their name in the supernet, sorted."""
        return self._groups()[0]

    def weights(self) -> dict[str, nn.Parameter]:
        """W: all other parameters of the supernet by name."""
        return self._groups()[1]

    def _groups(self) -> tuple[dict[str, nn.Parameter], dict[str, nn.Parameter]]:
        """A and W; found once as well: training changes the parameters' values, never which there are."""
        if self._parameter_groups is None:
            architecture = self._find_architecture()
            weights = {name: p for name, p in self.model.named_parameters() if name not in architecture}
            self._parameter_groups = architecture, weights
        return self._parameter_groups

    def _aliases(self) -> dict[str, str]:
        """Other names of shared parameters, as of the logits of all cells of a type."""
        if self._parameter_aliases is None:
            names = {id(p): name for group in self._groups() for name, p in group.items()}
            every = self.model.named_parameters(remove_duplicate=False)
            self._parameter_aliases = {name: names[id(p)] for name, p in every if names[id(p)] != name}
        return self._parameter_aliases

    def _find_architecture(self) -> dict[str, nn.Parameter]:
        wanted = {id(p) for module in self.supernet_modules() for p in getattr(module, 'arch_parameters', tuple)()}
        return dict(sorted((name, p) for name, p in self.model.named_parameters() if id(p) in wanted))

    def arch_parameters(self) -> list[nn.Parameter]:
        """A, in an order that does not change from run to run."""
        return list(self.architecture().values())

    def configure_architecture_optimizers(self) -> torch.optim.Optimizer:
        """Adam (0.5, 0.999), as in all of the papers."""
        parameters = self.arch_parameters()
        if not parameters:
            raise ValueError('this space has nothing to choose, so there is nothing to search')
        return torch.optim.Adam(
            parameters, self.arc_learning_rate, betas=(0.5, 0.999), weight_decay=self.arc_weight_decay
        )

    def configure_optimizers(self) -> Any:
        """Weights first, then the adversary's, then the architecture's."""
        configured = super().configure_optimizers()
        adversary = self._adversary_optimizers()
        if not adversary:
            return configured
        optimizers, schedulers = _two_lists(configured)
        schedulers += [
            {'scheduler': a.scheduler, 'interval': 'epoch', 'frequency': 1}
            for a in adversary
            if a.scheduler is not None
        ]
        return [optimizers[0], *(a.optimizer for a in adversary), *optimizers[1:]], schedulers

    def _adversary_optimizers(self) -> list[NamedOptimizer]:
        if not self.objective.needs_tester:
            return []
        home, epochs = self._adversary_home(), self.trainer.max_epochs
        found = home.tester.optimizers(epochs, learns_b=self.objective.hyperparameter_lr > 0)
        if not home.tester.has_hyperparameters:
            return found
        if self.objective.needs_auxiliary:
            found += home.auxiliary.optimizers(epochs)
        if self.objective.hyperparameter_lr:
            self._hyperparameter_optimizer = torch.optim.Adam(
                home.tester.hyperparameters().values(),
                self.objective.hyperparameter_lr,
                betas=(0.5, 0.999),
                maximize=True,
            )
            found.append(NamedOptimizer('hyperparameters', self._hyperparameter_optimizer))
        return found

    def _adversary_home(self) -> Any:
        """The module whose ``tester`` and ``auxiliary`` are the search's."""
        return self.training_module if self.adversary is None else self.adversary

    def weight_optimizer(self) -> Any:
        """The optimiser of W, wrapped by Lightning."""
        return self.optimizers()[0]

    # ----------------------------------------------------------------------------------------------------------------
    # one search iteration

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Any:
        """Update A and B if they are due, then W, then the adversary."""
        due = batch_idx % self.objective.every == 0
        step = self._step(batch, batch_idx)
        is_warm = self.trainer.current_epoch >= self.warmup_epochs
        reused = self._architecture_phase(step) if due and is_warm else None
        output = self._weight_phase(step, batch['train'], batch_idx, reused)
        if is_warm or not self.objective.rests_in_warmup:
            plays = due and (is_warm or step.tester is None or not step.tester.waits_for_b)
            self._log_losses(self.objective.adversary_step(step, update_generator=plays), len(step.train.labels))
        self.advance_lr_schedulers(batch_idx)
        if batch_idx % self.log_prob_every_n_step == 0:
            # The only moment at which the processor waits for a GPU.
            self._refuse_divergence(self._losses)
            self.log_probs(self.export_probs())
        return output

    def _step(self, batch: dict[str, Any], batch_idx: int) -> Step:
        learner = SupernetLearner(
            self.training_module,
            dict(self.architecture()),
            dict(self.weights()),
            self.weight_optimizer().optimizer,
            self._aliases(),
            None if self.adversary is None else self.adversary.pixels,
        )

        def evaluator_loss(examples: Batch) -> Tensor:
            is_val = examples is step.val
            output = self.training_module.training_step(
                batch['val' if is_val else 'train'], 2 * batch_idx + (not is_val)
            )
            return output['loss'] if isinstance(output, dict) else output

        step = Step(
            self._shown(batch['train']),
            self._shown(batch['val']),
            learner,
            self.hypergradient,
            evaluator_loss,
            moment=self.clock.moment,
            memory=self.memory,
            index=batch_idx,
            gradient_clip_val=self.gradient_clip_val,
        )
        self.last_validation_batch = step.val
        if self.objective.needs_tester:
            home = self._adversary_home()
            step.tester, step.auxiliary = home.tester, home.auxiliary
        return step

    def _shown(self, examples: Any) -> Batch:
        """One half of the batch; the first one to train on tells how the evaluator scales its images."""
        batch = Batch(*examples)
        if self.adversary is None:
            return batch
        self.adversary.pixels.fit(batch.images)
        return self.adversary.with_clean(batch)

    def _architecture_phase(self, step: Step) -> Parameters | None:
        """One update of A and B; returns the training gradient that the weight step shall reuse."""
        self.resample()
        precise = self.hypergradient.unrolls or self.objective.needs_tester
        with full_precision(self.device) if precise else nullcontext():
            update = self.objective.architecture_step(step)
        gradients, losses = self._penalised(update)
        if self.arc_gradient_clip_val is not None:
            _clip(gradients, self.arc_gradient_clip_val)
        _descend(self.architecture_optimizers(), step.learner.alphas, gradients)
        if update.ascent is not None and step.tester is not None:
            with full_precision(self.device):
                ascent = update.ascent()
            _descend(self._hyperparameter_optimizer, step.tester.hyperparameters(), ascent.hyperparameters)
            losses |= ascent.losses
        self._log_losses({**update.losses, **losses}, len(step.train.labels))
        return update.weight_gradient

    def _penalised(self, update: ArchitectureUpdate) -> tuple[Parameters, Losses]:
        """Gradients of the architecture with that of the relaxation's penalty, and its losses: A's with the penalty."""
        gradients = update.alphas
        if not self.relaxation.is_penalised:
            return gradients, {}
        penalty = torch.stack([choice.penalty() for choice in self.choices().values()]).sum()
        alphas = self.architecture()
        rise = torch.autograd.grad(penalty, list(alphas.values()), allow_unused=True)
        added = {
            name: gradients[name] if more is None else gradients[name] + more for name, more in zip(alphas, rise)
        }
        return added, {'penalty': penalty.detach(), 'A': update.losses['A'] + penalty.detach()}

    def _weight_phase(self, step: Step, batch: Any, batch_idx: int, reused: Parameters | None) -> Any:
        """One update of W, on the training loss or with a gradient at hand."""
        self.resample()
        if reused is not None:
            self._apply_gradients(reused, batch_idx)
            return None
        alphas = step.learner.alphas
        with constants(alphas), self._smoothed(step):
            loss = self.objective.weight_loss(step)
            self.advance_optimization(loss, batch_idx, self.gradient_clip_val)
        self._log_losses({'W': loss.detach()}, len(step.train.labels))
        return loss.detach()

    def _smoothed(self, step: Step) -> AbstractContextManager[Any]:
        """The architecture as the weights shall see it."""
        if not self.smoothing.perturbs:
            return nullcontext()
        choices = self.choices()
        weights = {label: choice.weights().detach() for label, choice in choices.items()}

        def holding(weights: Parameters) -> ExitStack:
            stack = ExitStack()
            for label, value in weights.items():
                stack.enter_context(choices[label].mixer.holding(value))
            return stack

        def loss(weights: Parameters) -> Tensor:
            with holding(weights):
                return step.learner.loss(*step.train[:2])

        perturbed = self.smoothing.perturbed(weights, loss, self.clock.moment)
        return nullcontext() if perturbed is None else holding(perturbed)

    def resample(self) -> Any:
        """Draw new random numbers for a stochastic relaxation, and whatever NNI's own choices sample."""
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
        optimizer = self.weight_optimizer()
        self.training_module.optimizer_zero_grad(self.trainer.current_epoch, batch_idx, optimizer)
        self.manual_backward(loss)
        self.training_module.configure_gradient_clipping(optimizer, gradient_clip_val, gradient_clip_algorithm)
        self.training_module.optimizer_step(self.trainer.current_epoch, batch_idx, optimizer)

    def _apply_gradients(self, gradients: Parameters, batch_idx: int) -> None:
        optimizer = self.weight_optimizer()
        for name, parameter in self.weights().items():
            parameter.grad = gradients[name]
        self.training_module.configure_gradient_clipping(optimizer, self.gradient_clip_val, None)
        self.training_module.optimizer_step(self.trainer.current_epoch, batch_idx, optimizer)

    def _log_losses(self, losses: Losses, count: int) -> None:
        self._losses |= losses
        for name, value in losses.items():
            self.log(f'loss_{name}', value, on_step=False, on_epoch=True, batch_size=count)

    def _refuse_divergence(self, values: Mapping[str, Tensor]) -> None:
        lost = [name for name, value in values.items() if not value.isfinite().all()]
        if lost:
            tester = ', those of the tester and the auxiliary model included,' if self.objective.needs_tester else ''
            raise ValueError(
                f'The search diverged in epoch {self.trainer.current_epoch}: {", ".join(lost)} not finite; '
                f'lower the learning rates{tester} or clip gradients'
            )

    # -------------------------------------------------------------------------------------------------- validation,
    # what NNI does not forward

    def validation_step(self, batch: Any, batch_idx: int) -> Any:
        """The evaluator's."""
        return self.training_module.validation_step(batch, batch_idx)

    def on_validation_epoch_end(self) -> None:
        """The evaluator's."""
        self.training_module.on_validation_epoch_end()

    def validation_batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Images and labels of the architecture's half, on the search's device."""
        loop = self.trainer.fit_loop.epoch_loop.val_loop
        loop.setup_data()
        if loop._combined_loader is None:
            raise ValueError(
                f'{type(self.schedule).__name__} judges candidates on the validation batches, and limit_val_batches=0 '
                'leaves none: leave it out'
            )
        for batch in loop._combined_loader.flattened[0]:
            images, labels = batch[:2]
            yield images.to(self.device, next(self.model.parameters()).dtype), labels.to(self.device)

    def on_train_epoch_start(self) -> None:
        """Put back the random state of a resumed run; enter the epoch's stage."""
        if self._restored_random_state is not None:
            torch.set_rng_state(self._restored_random_state)
            self._restored_random_state = None
            if not hasattr(self.training_module, 'set_epoch'):
                # A stock evaluator's loaders draw from this state, and Lightning has begun with them already.
                iter(self.trainer.fit_loop._data_fetcher)
        epoch = self.trainer.current_epoch
        self.warmup_epochs = self.stages.warmup_end(epoch)
        index = self.stages.starts_at(epoch)
        if index is not None:
            enter_stage(self, index)
        super().on_train_epoch_start()
        self.clock.moment = self.stages.moment(epoch, self.clock.moment.seed)
        for cell in relaxed_cells(self.model):
            cell.update(self.clock.moment)
        self.schedule.begin_epoch(self.view, self.clock.moment)

    def on_train_epoch_end(self) -> None:
        """Describe the architecture; stop a search that diverged."""
        super().on_train_epoch_end()
        self._refuse_divergence({**self._losses, **self.architecture()})
        rows = [torch.tensor(list(row.values())) for row in self.export_probs().values()]
        if rows:
            self.log('entropy', torch.stack([entropy(row) for row in rows]).mean())
            self.log('skips', float(sum(chosen == 'skip_connect' for chosen in self.export().values())))
        if self.objective.needs_tester:
            self.log_dict(self._adversary_home().tester.values())
        self._stopped_with = self.schedule.end_epoch(self.view, self.clock.moment)
        if self._stopped_with is not None:
            self.trainer.should_stop = True

    def export_probs(self) -> dict[str, Any]:
        """What a selection sees, by choice and candidate."""
        with self.clock.at_rest():
            return super().export_probs()

    def export(self) -> dict[str, Any]:
        """The sample that a stop rule has chosen, or that of the architecture as it is."""
        return super().export() if self._stopped_with is None else dict(self._stopped_with)

    # ----------------------------------------------------------------------------------------------------------- resume

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what Lightning does not: the random state and the epoch that comes next."""
        checkpoint['nni_wcnas'] = {
            'random_state': torch.get_rng_state(),
            'next_epoch': self.trainer.current_epoch + 1,
            'stage': self.clock.moment.stage,
            'seed': self.clock.moment.seed,
            'pruning': pruning_of(self.model),
            'memory': self.view.memory,
            'objective_memory': dict(self.memory),
            'stopped_with': self._stopped_with,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Remember the random state for the next epoch, and tell the data which epoch that is."""
        state = checkpoint['nni_wcnas']
        self._restored_random_state = state['random_state']
        self._restore_stage(state)
        set_epoch = getattr(self.training_module, 'set_epoch', None)
        if set_epoch is not None:
            set_epoch(state['next_epoch'])

    def _restore_stage(self, state: Mapping[str, Any]) -> None:
        """The supernet of the checkpoint's stage, with what was taken out, before its weights are loaded."""
        index = state['stage']
        if any(self.stages.is_rebuilt(i) for i in range(1, index + 1)):
            rebuild(self, index)
        apply_pruning(self.model, state['pruning'])
        self.begin_annealing(index)
        self.clock.moment = self.clock.moment._replace(stage=index, seed=state['seed'])
        self.view.memory = dict(state['memory'])
        self.memory |= {name: value.to(self.device) for name, value in state['objective_memory'].items()}
        self._stopped_with = state['stopped_with']
        if self._stopped_with is not None:
            self.trainer.should_stop = True


def _clip(gradients: Parameters, limit: float) -> None:
    """Scale all gradients together to a norm of at most ``limit``."""
    norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(value) for value in gradients.values()]))
    for name, value in gradients.items():
        gradients[name] = value * (limit / (norm + 1e-6)).clamp(max=1.0)


def _descend(optimizer: Any, parameters: Parameters, gradients: Parameters) -> None:
    """One optimiser step with gradients from outside."""
    optimizer.zero_grad()
    for name, parameter in parameters.items():
        parameter.grad = gradients[name]
    optimizer.step()


def _two_lists(configured: Any) -> tuple[list[Any], list[Any]]:
    """Optimisers and schedulers out of the forms that NNI's module returns."""
    if (
        isinstance(configured, (list, tuple))
        and len(configured) == 2
        and all(isinstance(part, list) for part in configured)
    ):
        return list(configured[0]), list(configured[1])
    if isinstance(configured[0], dict):
        return [entry['optimizer'] for entry in configured], [
            entry['lr_scheduler'] for entry in configured if 'lr_scheduler' in entry
        ]
    return list(configured), []
