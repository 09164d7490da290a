"""One iteration of a search: architecture and tester, weights, then the adversary; algorithm 1 of papers/wcnas."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import Any

import torch
from torch import Tensor

from nni_wcnas.contracts import ArchitectureUpdate, Batch, Losses, Parameters, Step
from nni_wcnas.errors import DivergedError
from nni_wcnas.functional.frozen import constants
from nni_wcnas.functional.hypergradient import full_precision
from nni_wcnas.search.host import Host
from nni_wcnas.search.learner import SupernetLearner
from nni_wcnas.search.optimizers import clip, descend

__all__ = ['Iteration']


class Iteration:
    """What one batch does to the three groups of parameters.

    Parameters
    ----------
    host
        The search.
    """

    def __init__(self, host: Host) -> None:
        self.host = host
        self.losses: Losses = {}
        """The latest of each loss."""

    def __call__(self, batch: dict[str, Any], batch_idx: int, *, is_warm: bool) -> Any:
        """Update A and B if they are due, then W, then the adversary; return the output of the weight step.

        ``is_warm`` is True once the warm-up is over.
        """
        objective = self.host.objective
        due = batch_idx % objective.every == 0
        step = self._step(batch, batch_idx)
        reused = self._architecture_phase(step) if due and is_warm else None
        output = self._weight_phase(step, batch['train'], batch_idx, reused)
        # After the weights, on the same batch. A generator whose discriminator is B would play against a B that
        # stands still, so it rests where B does.
        if is_warm or not objective.rests_in_warmup:
            plays = due and (is_warm or step.tester is None or not step.tester.pauses_in_warmup)
            self._log_losses(objective.adversary_step(step, update_generator=plays), len(step.train.labels))
        return output

    def refuse_divergence(self, values: Mapping[str, Tensor]) -> None:
        """Raise when one of the values is not finite.

        Raises
        ------
        DivergedError
            With the names of those that are not.
        """
        lost = [name for name, value in values.items() if not value.isfinite().all()]
        if lost:
            has_tester = self.host.objective.needs_tester
            tester = ', those of the tester and the auxiliary model included,' if has_tester else ''
            raise DivergedError(
                f'The search diverged in epoch {self.host.trainer.current_epoch}: {", ".join(lost)} not finite',
                f'lower the learning rates{tester} or clip gradients',
            )

    def _step(self, batch: dict[str, Any], batch_idx: int) -> Step:
        """Return what this iteration shows to the objective."""
        learner = SupernetLearner(
            self.host.training_module,
            dict(self.host.groups.architecture),
            dict(self.host.groups.weights),
            self.host.weight_optimizer().optimizer,
            self.host.groups.aliases,
            None if self.host.adversary is None else self.host.adversary.pixels,
        )

        # Even batch indices for validation and odd ones for training, as in NNI's DARTS. The evaluator gets the raw
        # batch, as its training step may take it apart in a way of its own.
        def evaluator_loss(examples: Batch) -> Tensor:
            is_val = examples is step.val
            output = self.host.training_module.training_step(
                batch['val' if is_val else 'train'], 2 * batch_idx + (not is_val)
            )
            return output['loss'] if isinstance(output, dict) else output

        step = Step(
            self._shown(batch['train']),
            self._shown(batch['val']),
            learner,
            self.host.hypergradient,
            evaluator_loss,
            moment=self.host.clock.moment,
            memory=self.host.memory,
            index=batch_idx,
            gradient_clip_val=self.host.gradient_clip_val,
        )
        self.host.last_validation_batch = step.val
        if self.host.objective.needs_tester:
            home = self.host.adversary_home
            step.tester, step.auxiliary = home.tester, home.auxiliary
        return step

    def _shown(self, examples: Any) -> Batch:
        """Return one half of the batch as the objective sees it.

        For a stock evaluator, the first batch tells how its images are scaled, and pixels in [-1, 1] are added.
        """
        batch = Batch(*examples)
        if self.host.adversary is None:
            return batch
        self.host.adversary.pixels.fit(batch.images)
        return self.host.adversary.with_clean(batch)

    def _architecture_phase(self, step: Step) -> Parameters | None:
        """One update of A and B; returns the training gradient that the weight step shall reuse."""
        # One draw of a stochastic relaxation serves all passes of this update, finite differences included.
        self.host.resample()
        # Plain first-order steps may run under autocast; products of second derivatives and images must not.
        precise = self.host.hypergradient.unrolls or self.host.objective.needs_tester
        with full_precision(self.host.device) if precise else nullcontext():
            update = self.host.objective.architecture_step(step)
        gradients, losses = self._penalised(update)
        if self.host.arc_gradient_clip_val is not None:
            clip(gradients, self.host.arc_gradient_clip_val)
        descend(self.host.architecture_optimizers(), step.learner.alphas, gradients)
        # Only now: B ascends at the A that has just moved.
        if update.ascent is not None and step.tester is not None:
            with full_precision(self.host.device):
                ascent = update.ascent()
            descend(self.host.hyperparameter_optimizer, step.tester.hyperparameters(), ascent.hyperparameters)
            losses |= ascent.losses
        self._log_losses({**update.losses, **losses}, len(step.train.labels))
        return update.weight_gradient

    def _penalised(self, update: ArchitectureUpdate) -> tuple[Parameters, Losses]:
        """Return the gradients of A with that of the relaxation's penalty, and the losses that this changes."""
        gradients = update.alphas
        if not self.host.relaxation.is_penalised:
            return gradients, {}
        penalty = torch.stack([choice.penalty() for choice in self.host.choices().values()]).sum()
        alphas = self.host.groups.architecture
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
        self.host.resample()
        if reused is not None:
            self._apply_gradients(reused, batch_idx)
            return None
        alphas = step.learner.alphas
        # A requires no gradient in this pass, which spares its share of the
        # backward pass; the backward is inside as well.
        with constants(alphas), self._smoothed(step):
            loss = self.host.objective.weight_loss(step)
            self.host.advance_optimization(loss, batch_idx, self.host.gradient_clip_val)
        self._log_losses({'W': loss.detach()}, len(step.train.labels))
        return loss.detach()

    def _smoothed(self, step: Step) -> AbstractContextManager[Any]:
        """Return a context in which the mixing weights are what the smoothing makes of them."""
        if not self.host.smoothing.perturbs:
            return nullcontext()
        choices = self.host.choices()
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

        perturbed = self.host.smoothing.perturbed(weights, loss, self.host.clock.moment)
        return nullcontext() if perturbed is None else holding(perturbed)

    def _apply_gradients(self, gradients: Parameters, batch_idx: int) -> None:
        """Let the optimiser of W take a step with gradients that are at hand."""
        optimizer = self.host.weight_optimizer()
        for name, parameter in self.host.groups.weights.items():
            parameter.grad = gradients[name]
        self.host.training_module.configure_gradient_clipping(optimizer, self.host.gradient_clip_val, None)
        self.host.training_module.optimizer_step(self.host.trainer.current_epoch, batch_idx, optimizer)

    def _log_losses(self, losses: Losses, count: int) -> None:
        """Log losses as means over the epoch, and remember the latest for the check of divergence."""
        self.losses |= losses
        for name, value in losses.items():
            self.host.log(f'loss_{name}', value, on_step=False, on_epoch=True, batch_size=count)
