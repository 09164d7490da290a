"""SupernetView: what a schedule sees of the supernet between two epochs, and may do to it."""

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
    """The supernet of a search module.

    Parameters
    ----------
    module
        The search.
    """

    def __init__(self, module: SearchModule) -> None:
        self._module = module
        self.memory: dict[str, Any] = {}

    def scores(self) -> dict[str, CellScores]:
        return {label: cell.scores() for label, cell in self._cells().items()}

    def select(self, label: str) -> CellGenotype:
        return self._cells()[label].genotype()

    def export(self) -> dict[str, Any]:
        return {str(label): choice for label, choice in self._module.export().items()}  # NNI's labels are no plain text

    def prune(self, label: str, candidates: Iterable[tuple[int, int]]) -> None:
        self._cells()[label].prune(candidates)

    def drop(self, label: str, edges: Iterable[int]) -> None:
        self._cells()[label].drop(edges)

    @torch.no_grad()
    def validate(self, label: str, without: Iterable[tuple[int, int]]) -> tuple[float, float]:
        module = self._module
        criterion = getattr(module.training_module, 'criterion', None) or torch.nn.CrossEntropyLoss()
        loss, right = torch.zeros((), device=module.device), torch.zeros((), device=module.device)
        count = 0
        mode = module.model.training
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
        """Those of the epoch, for operations that draw any: what is compared differs by what is left out alone."""
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            torch.manual_seed(self._module.trainer.current_epoch)
            yield

    def largest_eigenvalue(self) -> float:
        batch = self._module.last_validation_batch
        if batch is None:
            raise ValueError('no batch has been seen yet, so there is no loss to differentiate')
        with full_precision(self._module.device), torch.enable_grad():
            value = self._eigenvalue(batch)
        self._module.log('eigenvalue', value)
        return value

    def _eigenvalue(self, batch: Batch) -> float:
        module = self._module
        with frozen_statistics(module.model), quick_second_pass(module.model):
            loss = torch.nn.functional.cross_entropy(module.model(batch.images), batch.labels)
            return largest_eigenvalue(*hessian_product(loss, module.architecture()))

    def draw(self, count: int) -> int:
        return int(torch.randint(count, ()))

    def _cells(self) -> dict[str, Any]:
        return cells_by_label(self._module.model)
