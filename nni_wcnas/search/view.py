"""What a schedule sees of the supernet between two epochs, and may do to it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from nni_wcnas.contracts import Batch, CellGenotype, CellScores, Supernet
from nni_wcnas.functional.eigenvalue import hessian_product, largest_eigenvalue
from nni_wcnas.functional.frozen import frozen_statistics
from nni_wcnas.functional.hypergradient import full_precision
from nni_wcnas.functional.random_state import untouched_random_state
from nni_wcnas.functional.second_pass import quick_second_pass
from nni_wcnas.search.host import Host
from nni_wcnas.supernet.choices import cells_by_label

__all__ = ['SupernetView']


class SupernetView(Supernet):
    """The supernet of a search, as a schedule is shown it.

    Parameters
    ----------
    module
        The search.
    """

    def __init__(self, module: Host) -> None:
        self._module = module
        self.memory: dict[str, Any] = {}

    def scores(self) -> dict[str, CellScores]:
        """Return what a selection sees, by label of the cell."""
        return {label: cell.scores() for label, cell in self._cells().items()}

    def select(self, label: str) -> CellGenotype:
        """Return what the selection would choose now for one cell."""
        return self._cells()[label].genotype()

    def export(self) -> dict[str, Any]:
        """Return what the search would return now: NNI's sample."""
        return {str(label): choice for label, choice in self._module.export().items()}  # NNI's labels are no plain text

    def prune(self, label: str, candidates: Iterable[tuple[int, int]]) -> None:
        """Take candidates (edge, operation) out of all cells of a label for good."""
        self._cells()[label].prune(candidates)

    def drop(self, label: str, edges: Iterable[int]) -> None:
        """Take whole edges out of all cells of a label for good."""
        self._cells()[label].drop(edges)

    @torch.no_grad()
    def validate(self, label: str, without: Iterable[tuple[int, int]]) -> tuple[float, float]:
        """Return mean loss and accuracy on the architecture's half, while some candidates have no weight."""
        module = self._module
        # Sums stay on the device until the end: one wait for a GPU, not one for each batch.
        loss, right = torch.zeros((), device=module.device), torch.zeros((), device=module.device)
        count = 0
        # Training mode with frozen statistics: normalised by each batch, as in
        # DARTS-PT, whose code moves running statistics.
        with (
            # Operations that draw random numbers draw the same ones in all validations of an epoch: what is compared
            # then differs by what is left out alone.
            untouched_random_state(module.trainer.current_epoch),
            _training(module.model),
            self._cells()[label].mixer.without(without),
            frozen_statistics(module.model),
        ):
            for images, labels in self._validation_batches():
                logits = module.model(images)
                loss += self._criterion(logits, labels) * len(labels)
                right += (logits.argmax(1) == labels).sum()
                count += len(labels)
        return float(loss) / count, float(right) / count

    def _validation_batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield images and labels of the architecture's half, on the search's device."""
        # Lightning's own loader of the validation loop, so that limits such as `limit_val_batches` hold here too. It is
        # set up before the first validation, as a schedule may judge candidates before an epoch.
        module, loop = self._module, self._module.trainer.fit_loop.epoch_loop.val_loop
        loop.setup_data()
        if loop._combined_loader is None:
            raise ValueError(
                f'{type(module.schedule).__name__} judges candidates on the validation batches, and '
                'limit_val_batches=0 leaves none: leave it out'
            )
        for batch in loop._combined_loader.flattened[0]:
            images, labels = batch[:2]
            yield images.to(module.device, next(module.model.parameters()).dtype), labels.to(module.device)

    def largest_eigenvalue(self) -> float:
        """Return the largest eigenvalue of the Hessian of the validation loss by A, on the last validation batch; log
        it.

        Raises
        ------
        ValueError
            When no batch has been seen yet.
        """
        batch = self._module.last_validation_batch
        if batch is None:
            raise ValueError('no batch has been seen yet, so there is no loss to differentiate')
        # A Hessian needs gradients, whatever mode the calling hook runs in.
        with full_precision(self._module.device), torch.enable_grad():
            value = self._eigenvalue(batch)
        self._module.log('eigenvalue', value)
        return value

    @property
    def _criterion(self) -> Any:
        """The evaluator's loss; cross-entropy where its module names none."""
        return getattr(self._module.training_module, 'criterion', None) or torch.nn.CrossEntropyLoss()

    def _eigenvalue(self, batch: Batch) -> float:
        """Return the eigenvalue in the precision that is set, on one batch."""
        module = self._module
        # The graph of dL/dA is built once; a few dozen products of the Lanczos iteration share it.
        with frozen_statistics(module.model), quick_second_pass(module.model):
            loss = self._criterion(module.model(batch.images), batch.labels)
            return largest_eigenvalue(*hessian_product(loss, module.groups.architecture))

    def draw(self, count: int) -> int:
        """Return a random number below ``count``, from the search's random state."""
        return int(torch.randint(count, ()))

    def _cells(self) -> dict[str, Any]:
        return cells_by_label(self._module.model)


@contextmanager
def _training(network: nn.Module) -> Iterator[None]:
    """Put all parts of a network into training mode, and back into their own at the end, also after an error."""
    modes = [(module, module.training) for module in network.modules()]
    network.train()
    try:
        yield
    finally:
        # Set directly: module.train() would change the children as well.
        for module, mode in modes:
            module.training = mode
