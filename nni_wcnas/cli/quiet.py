"""Filters that keep the noise of the host's libraries from the user; every real warning passes."""

from __future__ import annotations

import logging
import warnings

__all__ = ['silence_lightning', 'silence_noise']

# Patterns of warnings that Lightning, NNI and torch give in every search, and that ask the user for nothing.
_WARNINGS = (
    '.*does not have many workers',
    '.*GPU available but not used',
    '.*pkg_resources is deprecated',
    '.*Checkpoint directory .* exists',
    '.*Running trial code without runtime',
    '.*is deprecated as an API',
    'Found .* module.s. in eval mode',
    '.*isinstance.treespec, LeafSpec',
    '.*The number of training batches',
    '.*Trying to infer the `batch_size`',
    '.*lr_scheduler.step.* before .optimizer.step',
)


class _Filter(logging.Filter):
    """A filter of log records that drops lines which tell a user of this command nothing."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to keep a record."""
        message = record.getMessage()
        return not any(
            part in message
            for part in (
                'training_service will be ignored',
                'Sorted weights',
                'fails to be executed',
                'is interrupted. Exiting',
                'tianshou',
                'Using random seed',
            )
        )


def silence_noise() -> None:
    """Filter what NNI warns of and logs in every run; call it before NNI is imported, as that warns, too."""
    for message in _WARNINGS:
        warnings.filterwarnings('ignore', message=message)
    warnings.filterwarnings('ignore', category=RuntimeWarning, module=r'nni\..*')
    for name in (
        'nni.nas.execution.sequential',
        'nni.nas.experiment.config',
        'nni.nas.oneshot.pytorch.strategy',
        'nni.nas.strategy',
        'nni.tuner.random',
        'nni.tuner.tpe',
    ):
        logging.getLogger(name).addFilter(_Filter())


def silence_lightning() -> None:
    """Silence Lightning's advice; call it after Lightning was imported, which sets the level of its loggers itself."""
    # A filter of a logger acts on that logger's own records only, so each of NNI's needs one.
    for name in ('pytorch_lightning', 'lightning_fabric'):
        logging.getLogger(name).setLevel(logging.WARNING)
