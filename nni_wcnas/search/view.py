"""What a schedule sees of the supernet between two epochs, and may do to it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from nni_wcnas.contracts import Batch, CellGenotype, CellScores, Supernet
from nni_wcnas.functional.eigenvalue import hessian_product, largest_eigenvalue
from nni_wcnas.functional.frozen import frozen_statistics
from nni_wcnas.functional.hypergradient import full_precision
from nni_wcnas.functional.second_pass import quick_second_pass
from nni_wcnas.supernet.choices import cells_by_label

if TYPE_CHECKING:
    from nni_wcnas.search.module import SearchModule

__all__ = ['SupernetView']


class SupernetView(Supernet):
    """The supernet of a search, as a schedule is shown it.

    Parameters
    ----------
    module
        The search.
    """

    def __init__(self, module: SearchModule) -> None:
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
        criterion = getattr(module.training_module, 'criterion', None) or torch.nn.CrossEntropyLoss()
        # Sums stay on the device until the end: one wait for a GPU, not one for each batch.
        loss, right = torch.zeros((), device=module.device), torch.zeros((), device=module.device)
        count = 0
        mode = module.model.training
        # Training mode with frozen statistics: normalised by each batch, as in
        # DARTS-PT, whose code moves running statistics.
        with (
            self._same_random_numbers(),
            self._cells()[label].mixer.without(without),
            frozen_statistics(module.model.train()),
        ):
            for images, labels in module.validation_batches():
                logits = module.model(images)
                loss += criterion(logits, labels) * len(labels)
                right += (logits.argmax(1) == labels).sum()
                count += len(labels)
        module.model.train(mode)
        return float(loss) / count, float(right) / count

    @contextmanager
    def _same_random_numbers(self) -> Iterator[None]:
        """Let operations that draw random numbers draw the same ones in all validations of an epoch.

        What is compared then differs by what is left out alone. The global random state is restored.
        """
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            torch.manual_seed(self._module.trainer.current_epoch)
            yield

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

    def _eigenvalue(self, batch: Batch) -> float:
        module = self._module
        # The graph of dL/dA is built once; a few dozen products of the Lanczos iteration share it.
        with frozen_statistics(module.model), quick_second_pass(module.model):
            loss = torch.nn.functional.cross_entropy(module.model(batch.images), batch.labels)
            return largest_eigenvalue(*hessian_product(loss, module.architecture()))

    def draw(self, count: int) -> int:
        """Return a random number below ``count``, from the search's random state."""
        return int(torch.randint(count, ()))

    def _cells(self) -> dict[str, Any]:
        return cells_by_label(self._module.model)
