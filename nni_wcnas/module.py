"""The only training step: architecture and tester first, then the weights, then the adversary's own networks."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import torch
from nni.nas.oneshot.pytorch.differentiable import DartsLightningModule
from nni.nas.oneshot.pytorch.supermodule.base import BaseSuperNetModule
from pytorch_lightning import LightningModule
from torch import Tensor, nn

from nni_wcnas.contracts import Batch, Hypergradient, Losses, NamedOptimizer, Objective, Parameters, Smoothing, Step
from nni_wcnas.functional.frozen import constants
from nni_wcnas.functional.hypergradient import full_precision
from nni_wcnas.functional.scores import entropy
from nni_wcnas.learner import SupernetLearner

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
    objective, hypergradient, smoothing
        Members of the axes.
    **kwargs
        Those of NNI's ``DartsLightningModule``.
    """

    def __init__(
        self,
        training_module: LightningModule,
        *,
        objective: Objective,
        hypergradient: Hypergradient,
        smoothing: Smoothing,
        **kwargs: Any,
    ) -> None:
        super().__init__(training_module, **kwargs)
        self.objective, self.hypergradient, self.smoothing = objective, hypergradient, smoothing
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
        module, epochs = self.training_module, self.trainer.max_epochs
        self._hyperparameter_optimizer = torch.optim.Adam(
            module.tester.hyperparameters().values(),
            self.objective.hyperparameter_lr,
            betas=(0.5, 0.999),
            maximize=True,
        )
        return [
            *module.tester.optimizers(epochs),
            *module.auxiliary.optimizers(epochs),
            NamedOptimizer('hyperparameters', self._hyperparameter_optimizer),
        ]

    def weight_optimizer(self) -> Any:
        """The optimiser of W, wrapped by Lightning."""
        return self.optimizers()[0]

    # ----------------------------------------------------------------------------------------------------------------
    # one search iteration

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Any:
        """Update A and B if they are due, then W, then the adversary."""
        due = batch_idx % self.objective.every == 0
        step = self._step(batch, batch_idx)
        reused = self._architecture_phase(step) if due and self.trainer.current_epoch >= self.warmup_epochs else None
        output = self._weight_phase(step, batch['train'], batch_idx, reused)
        self._log_losses(self.objective.adversary_step(step, update_generator=due), len(step.train.labels))
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
        )

        def evaluator_loss(examples: Batch) -> Tensor:
            is_val = examples is step.val
            output = self.training_module.training_step(
                batch['val' if is_val else 'train'], 2 * batch_idx + (not is_val)
            )
            return output['loss'] if isinstance(output, dict) else output

        step = Step(Batch(*batch['train']), Batch(*batch['val']), learner, self.hypergradient, evaluator_loss)
        if self.objective.needs_tester:
            step.tester, step.auxiliary = self.training_module.tester, self.training_module.auxiliary
        return step

    def _architecture_phase(self, step: Step) -> Parameters | None:
        """One update of A and B; returns the training gradient that the weight step shall reuse."""
        self.resample()
        precise = self.hypergradient.unrolls or self.objective.needs_tester
        with full_precision(self.device) if precise else nullcontext():
            update = self.objective.architecture_step(step)
        _descend(self.architecture_optimizers(), step.learner.alphas, update.alphas)
        if update.hyperparameters and step.tester is not None:
            _descend(self._hyperparameter_optimizer, step.tester.hyperparameters(), update.hyperparameters)
        self._log_losses(update.losses, len(step.train.labels))
        return update.weight_gradient

    def _weight_phase(self, step: Step, batch: Any, batch_idx: int, reused: Parameters | None) -> Any:
        """One update of W, on the training loss or with a gradient at hand."""
        self.resample()
        if reused is not None:
            self._apply_gradients(reused, batch_idx)
            return None
        alphas = step.learner.alphas
        with constants(alphas):
            loss = self.objective.weight_loss(step)
            self.advance_optimization(loss, batch_idx, self.gradient_clip_val)
        self._log_losses({'W': loss.detach()}, len(step.train.labels))
        return loss.detach()

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

    def on_train_epoch_start(self) -> None:
        """Put back the random state of a resumed run."""
        super().on_train_epoch_start()
        if self._restored_random_state is not None:
            torch.set_rng_state(self._restored_random_state)
            self._restored_random_state = None

    def on_train_epoch_end(self) -> None:
        """Describe the architecture; stop a search that diverged."""
        super().on_train_epoch_end()
        self._refuse_divergence({**self._losses, **self.architecture()})
        rows = [torch.tensor(list(row.values())) for row in self.export_probs().values()]
        if rows:
            self.log('entropy', torch.stack([entropy(row) for row in rows]).mean())
            self.log('skips', float(sum(chosen == 'skip_connect' for chosen in self.export().values())))
        if self.objective.needs_tester:
            self.log_dict(self.training_module.tester.values())

    # ----------------------------------------------------------------------------------------------------------- resume

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what Lightning does not: the random state and the epoch that comes next."""
        checkpoint['nni_wcnas'] = {'random_state': torch.get_rng_state(), 'next_epoch': self.trainer.current_epoch + 1}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Remember the random state for the next epoch, and tell the data which epoch that is."""
        state = checkpoint['nni_wcnas']
        self._restored_random_state = state['random_state']
        set_epoch = getattr(self.training_module, 'set_epoch', None)
        if set_epoch is not None:
            set_epoch(state['next_epoch'])


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
