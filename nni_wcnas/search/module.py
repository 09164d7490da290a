"""The search's Lightning module, with the only training step: architecture and tester, weights, then the adversary."""

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
from nni_wcnas.errors import DivergedError
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
        """Tester and auxiliary model for an evaluator that has none; None where the evaluator has its own."""
        self.view = SupernetView(self)
        self.last_validation_batch: Batch | None = None
        # Tensors of the objective, saved in checkpoints.
        self.memory: Parameters = {}
        self._stopped_with: dict[str, Any] | None = None
        self._relaxed_choices: dict[str, RelaxedChoice] | None = None
        # Before `configure_optimizers` is called, which reads the annealing of the first stage.
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
        """Return what replaced the choices of the space; found once, as a walk through the supernet is slow."""
        if self._supernet_modules is None:
            self._supernet_modules = list(super().supernet_modules())
        return self._supernet_modules

    def choices(self) -> dict[str, RelaxedChoice]:
        """Return the relaxed types of cells and single choices by label; found once as well."""
        if self._relaxed_choices is None:
            self._relaxed_choices = relaxed_choices(self.model)
        return self._relaxed_choices

    def change_model(self, supernet: nn.Module) -> None:
        """Search in another supernet from here on, and forget what was found in the old one."""
        self.set_model(supernet)
        self._supernet_modules = self._relaxed_choices = None
        self._parameter_aliases = self._parameter_groups = None

    def begin_annealing(self, index: int) -> None:
        """Tell the evaluator how the weights' learning rate falls from a stage on; a stock evaluator is not told."""
        if hasattr(self.training_module, 'annealing'):
            self.training_module.annealing = self.stages.annealing(index)

    def architecture(self) -> dict[str, nn.Parameter]:
        """Return A: the architecture parameters by their name in the supernet, sorted."""
        return self._groups()[0]

    def weights(self) -> dict[str, nn.Parameter]:
        """Return W: all other parameters of the supernet by name."""
        return self._groups()[1]

    def _groups(self) -> tuple[dict[str, nn.Parameter], dict[str, nn.Parameter]]:
        """Return A and W; found once as well: training changes the parameters' values, never which there are."""
        if self._parameter_groups is None:
            architecture = self._find_architecture()
            weights = {name: p for name, p in self.model.named_parameters() if name not in architecture}
            self._parameter_groups = architecture, weights
        return self._parameter_groups

    def _aliases(self) -> dict[str, str]:
        """Return the other names of shared parameters, as of the logits of all cells of a type, each with its name in A
        or W."""
        if self._parameter_aliases is None:
            names = {id(p): name for group in self._groups() for name, p in group.items()}
            # `functional_call` replaces tensors by name: without its aliases, a shared
            # parameter would be replaced in one cell only.
            every = self.model.named_parameters(remove_duplicate=False)
            self._parameter_aliases = {name: names[id(p)] for name, p in every if names[id(p)] != name}
        return self._parameter_aliases

    def _find_architecture(self) -> dict[str, nn.Parameter]:
        """Return the architecture parameters by name, without the duplicates of shared ones."""
        wanted = {id(p) for module in self.supernet_modules() for p in getattr(module, 'arch_parameters', tuple)()}
        return dict(sorted((name, p) for name, p in self.model.named_parameters() if id(p) in wanted))

    def arch_parameters(self) -> list[nn.Parameter]:
        """Return A as a list, in the same order in every run; NNI's own order is that of a set."""
        return list(self.architecture().values())

    def configure_architecture_optimizers(self) -> torch.optim.Optimizer:
        """Return Adam (0.5, 0.999) on A, as in all of the papers."""
        parameters = self.arch_parameters()
        if not parameters:
            raise ValueError('this space has nothing to choose, so there is nothing to search')
        return torch.optim.Adam(
            parameters, self.arc_learning_rate, betas=(0.5, 0.999), weight_decay=self.arc_weight_decay
        )

    def configure_optimizers(self) -> Any:
        """Return the optimisers of the weights, the adversary and the architecture, in this order."""
        # NNI takes A out of the weight optimiser, marks the architecture's own and puts it last. The adversary's go in
        # between: a new stage finds the weights' at the first place and the architecture's at the last.
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
        """Build the optimisers of the tester's networks, of the auxiliary model and of B, as far as the objective
        trains them."""
        if not self.objective.needs_tester:
            return []
        home, epochs = self._adversary_home(), self.trainer.max_epochs
        found = home.tester.optimizers(epochs, learns_b=self.objective.hyperparameter_lr > 0)
        if not home.tester.has_hyperparameters:
            return found
        if self.objective.needs_auxiliary:
            found += home.auxiliary.optimizers(epochs)
        if self.objective.hyperparameter_lr:
            # Equation 11 ascends, hence `maximize`. No weight decay: it would pull B's unconstrained numbers to zero,
            # a point without meaning (a momentum of sigmoid(0) = 0.5).
            self._hyperparameter_optimizer = torch.optim.Adam(
                home.tester.hyperparameters().values(),
                self.objective.hyperparameter_lr,
                betas=(0.5, 0.999),
                maximize=True,
            )
            found.append(NamedOptimizer('hyperparameters', self._hyperparameter_optimizer))
        return found

    def _adversary_home(self) -> Any:
        """Return the module whose ``tester`` and ``auxiliary`` are the search's: the evaluator's, or our own."""
        return self.training_module if self.adversary is None else self.adversary

    def weight_optimizer(self) -> Any:
        """Return the optimiser of W, wrapped by Lightning."""
        return self.optimizers()[0]

    # ----------------------------------------------------------------------------------------------------------------
    # one search iteration

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Any:
        """Update A and B if they are due, then W, then the adversary: algorithm 1 of papers/wcnas."""
        due = batch_idx % self.objective.every == 0
        step = self._step(batch, batch_idx)
        # True once the warm-up is over. `warmup_epochs` is the epoch of the whole
        # search at which that of this stage ends.
        is_warm = self.trainer.current_epoch >= self.warmup_epochs
        reused = self._architecture_phase(step) if due and is_warm else None
        output = self._weight_phase(step, batch['train'], batch_idx, reused)
        # After the weights, on the same batch. A generator whose discriminator is B would play against a B that
        # stands still, so it rests where B does.
        if is_warm or not self.objective.rests_in_warmup:
            plays = due and (is_warm or step.tester is None or not step.tester.pauses_in_warmup)
            self._log_losses(self.objective.adversary_step(step, update_generator=plays), len(step.train.labels))
        self.advance_lr_schedulers(batch_idx)
        if batch_idx % self.log_prob_every_n_step == 0:
            # The only moment at which the processor waits for a GPU.
            self._refuse_divergence(self._losses)
            self.log_probs(self.export_probs())
        return output

    def _step(self, batch: dict[str, Any], batch_idx: int) -> Step:
        """Return what this iteration shows to the objective."""
        learner = SupernetLearner(
            self.training_module,
            dict(self.architecture()),
            dict(self.weights()),
            self.weight_optimizer().optimizer,
            self._aliases(),
            None if self.adversary is None else self.adversary.pixels,
        )

        # Even batch indices for validation and odd ones for training, as in NNI's DARTS. The evaluator gets the raw
        # batch, as its training step may take it apart in a way of its own.
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
        """Return one half of the batch as the objective sees it.

        For a stock evaluator, the first batch tells how its images are scaled, and pixels in [-1, 1] are added.
        """
        batch = Batch(*examples)
        if self.adversary is None:
            return batch
        self.adversary.pixels.fit(batch.images)
        return self.adversary.with_clean(batch)

    def _architecture_phase(self, step: Step) -> Parameters | None:
        """One update of A and B; returns the training gradient that the weight step shall reuse."""
        # One draw of a stochastic relaxation serves all passes of this update, finite differences included.
        self.resample()
        # Plain first-order steps may run under autocast; products of second derivatives and images must not.
        precise = self.hypergradient.unrolls or self.objective.needs_tester
        with full_precision(self.device) if precise else nullcontext():
            update = self.objective.architecture_step(step)
        gradients, losses = self._penalised(update)
        if self.arc_gradient_clip_val is not None:
            _clip(gradients, self.arc_gradient_clip_val)
        _descend(self.architecture_optimizers(), step.learner.alphas, gradients)
        # Only now: B ascends at the A that has just moved.
        if update.ascent is not None and step.tester is not None:
            with full_precision(self.device):
                ascent = update.ascent()
            _descend(self._hyperparameter_optimizer, step.tester.hyperparameters(), ascent.hyperparameters)
            losses |= ascent.losses
        self._log_losses({**update.losses, **losses}, len(step.train.labels))
        return update.weight_gradient

    def _penalised(self, update: ArchitectureUpdate) -> tuple[Parameters, Losses]:
        """Return the gradients of A with that of the relaxation's penalty, and the losses that this changes."""
        gradients = update.alphas
        if not self.relaxation.is_penalised:
            return gradients, {}
        penalty = torch.stack([choice.penalty() for choice in self.choices().values()]).sum()
        alphas = self.architecture()
        # The penalty is of the mixers' own logits: edge weights of PartialChannels
        # play no part in it, hence `allow_unused`.
        rise = torch.autograd.grad(penalty, list(alphas.values()), allow_unused=True)
        added = {
            name: gradients[name] if more is None else gradients[name] + more for name, more in zip(alphas, rise)
        }
        return added, {'penalty': penalty.detach(), 'A': update.losses['A'] + penalty.detach()}

    def _weight_phase(self, step: Step, batch: Any, batch_idx: int, reused: Parameters | None) -> Any:
        """Update W on the training loss, or with a gradient that the look-ahead has computed."""
        # The weights learn under another draw than the architecture; DrNAS draws for each forward pass.
        self.resample()
        if reused is not None:
            self._apply_gradients(reused, batch_idx)
            return None
        alphas = step.learner.alphas
        # A requires no gradient in this pass, which spares its share of the
        # backward pass; the backward is inside as well.
        with constants(alphas), self._smoothed(step):
            loss = self.objective.weight_loss(step)
            self.advance_optimization(loss, batch_idx, self.gradient_clip_val)
        self._log_losses({'W': loss.detach()}, len(step.train.labels))
        return loss.detach()

    def _smoothed(self, step: Step) -> AbstractContextManager[Any]:
        """Return a context in which the mixing weights are what the smoothing makes of them."""
        if not self.smoothing.perturbs:
            return nullcontext()
        choices = self.choices()
        weights = {label: choice.weights().detach() for label, choice in choices.items()}

        def holding(weights: Parameters) -> ExitStack:
            stack = ExitStack()
            for label, value in weights.items():
                stack.enter_context(choices[label].mixer.holding(value))
            return stack

        # The learner's loss moves no running statistics and replays its random numbers:
        # an attack compares mixing weights alone.
        def loss(weights: Parameters) -> Tensor:
            with holding(weights):
                return step.learner.loss(*step.train[:2])

        perturbed = self.smoothing.perturbed(weights, loss, self.clock.moment)
        return nullcontext() if perturbed is None else holding(perturbed)

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

    def _apply_gradients(self, gradients: Parameters, batch_idx: int) -> None:
        """Let the optimiser of W take a step with gradients that are at hand."""
        optimizer = self.weight_optimizer()
        for name, parameter in self.weights().items():
            parameter.grad = gradients[name]
        self.training_module.configure_gradient_clipping(optimizer, self.gradient_clip_val, None)
        self.training_module.optimizer_step(self.trainer.current_epoch, batch_idx, optimizer)

    def _log_losses(self, losses: Losses, count: int) -> None:
        """Log losses as means over the epoch, and remember the latest for the check of divergence."""
        self._losses |= losses
        for name, value in losses.items():
            self.log(f'loss_{name}', value, on_step=False, on_epoch=True, batch_size=count)

    def _refuse_divergence(self, values: Mapping[str, Tensor]) -> None:
        """Raise when one of the values is not finite.

        Raises
        ------
        DivergedError
            With the names of those that are not.
        """
        lost = [name for name, value in values.items() if not value.isfinite().all()]
        if lost:
            tester = ', those of the tester and the auxiliary model included,' if self.objective.needs_tester else ''
            raise DivergedError(
                f'The search diverged in epoch {self.trainer.current_epoch}: {", ".join(lost)} not finite',
                f'lower the learning rates{tester} or clip gradients',
            )

    # ------------------------------------------------------------------------------------------------------------
    # validation and epochs: hooks that NNI does not forward to the evaluator's module

    def validation_step(self, batch: Any, batch_idx: int) -> Any:
        """Run the evaluator's validation step."""
        return self.training_module.validation_step(batch, batch_idx)

    def on_validation_epoch_end(self) -> None:
        """Run what the evaluator does after validation."""
        self.training_module.on_validation_epoch_end()

    def validation_batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield images and labels of the architecture's half, on the search's device."""
        # Lightning's own loader of the validation loop, so that limits such as `limit_val_batches` hold here too. It is
        # set up before the first validation, as a schedule may judge candidates before an epoch.
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
        # Not in `on_load_checkpoint`: between the two, Lightning builds loaders, which draw from the global state.
        if self._restored_random_state is not None:
            torch.set_rng_state(self._restored_random_state)
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
        self._refuse_divergence({**self._losses, **self.architecture()})
        # One row of probabilities for each edge or choice; their lengths may differ, so they are not stacked.
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
        """Return what a selection sees, by choice and candidate; nothing is drawn for it."""
        with self.clock.at_rest():
            return super().export_probs()

    def export(self) -> dict[str, Any]:
        """Return the sample that a stop rule has chosen, or that of the architecture as it is."""
        return super().export() if self._stopped_with is None else dict(self._stopped_with)

    # ----------------------------------------------------------------------------------------------------------- resume

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what Lightning does not: random state, next epoch, stage, pruning, and the memories of schedule and
        objective."""
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
        """Restore the stage, remember the random state for the next epoch, and tell the data which epoch that is."""
        state = checkpoint['nni_wcnas']
        self._restored_random_state = state['random_state']
        self._restore_stage(state)
        set_epoch = getattr(self.training_module, 'set_epoch', None)
        if set_epoch is not None:
            set_epoch(state['next_epoch'])

    def _restore_stage(self, state: Mapping[str, Any]) -> None:
        """Build the supernet of the checkpoint's stage, with what was taken out."""
        # Lightning calls this before it loads the weights and builds the optimisers, so
        # both find the supernet that was saved.
        index = state['stage']
        # A later stage's supernet may have another depth or width than the first, which
        # is the one that was built at the start.
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
    # The norm over all tensors together; 1e-6 is that of
    # `torch.nn.utils.clip_grad_norm_`, which works in place on .grad.
    norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(value) for value in gradients.values()]))
    for name, value in gradients.items():
        gradients[name] = value * (limit / (norm + 1e-6)).clamp(max=1.0)


def _descend(optimizer: Any, parameters: Parameters, gradients: Parameters) -> None:
    """Take one optimiser step with gradients that were computed apart from it."""
    optimizer.zero_grad()
    for name, parameter in parameters.items():
        parameter.grad = gradients[name]
    optimizer.step()


def _two_lists(configured: Any) -> tuple[list[Any], list[Any]]:
    """Return optimisers and schedulers, out of the forms that NNI's module returns."""
    if (
        isinstance(configured, (list, tuple))
        and len(configured) == 2
        and all(isinstance(part, list) for part in configured)
    ):
        return list(configured[0]), list(configured[1])
    # One dictionary for each optimiser, as for an evaluator that returns 'optimizer' and 'lr_scheduler'.
    if isinstance(configured[0], dict):
        return [entry['optimizer'] for entry in configured], [
            entry['lr_scheduler'] for entry in configured if 'lr_scheduler' in entry
        ]
    return list(configured), []
