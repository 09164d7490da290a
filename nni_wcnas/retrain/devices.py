"""Train one network on several devices of this machine: one process a device, joined by Lightning's DDP.

The batch is the recipe's, shared out over the devices, so rates and epochs keep their meaning: all examples of an
epoch are seen once, in the batches that one device would see, augmented alike, and a step follows the mean gradient of
the whole batch. Without batch norm, drop path and attacks it is the training on one device up to rounding. These
depend on the devices: batch norm takes the statistics of a device's own share, and its running averages are the first
device's; each device draws its own dropped paths and starts of attacks; and a last batch with fewer than two examples
a device joins the one before it.

The processes are new ones, not forks of this one (which may hold threads or a GPU), so a script that trains on several
devices has to keep what it runs behind ``if __name__ == '__main__'``. The first process writes the checkpoint and the
table; the network comes back by the checkpoint.
"""

from __future__ import annotations

import copy
import logging
import os
import pickle
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing import get_context, get_start_method, set_start_method
from multiprocessing.queues import SimpleQueue
from tempfile import TemporaryDirectory
from typing import NamedTuple

import torch
from lightning_fabric.plugins.environments.lightning import find_free_network_port
from torch import distributed
from torch.multiprocessing.spawn import ProcessContext, ProcessException, ProcessExitedException, start_processes

from nni_wcnas.files.run_directory import RunDirectory
from nni_wcnas.retrain.job import Job
from nni_wcnas.retrain.step import RetrainData

__all__ = ['check_devices', 'train_on_devices']

_QUIET = {'PYTHONWARNINGS': 'ignore::RuntimeWarning:nni.nas.nn.pytorch.layers', 'TORCH_CPP_LOG_LEVEL': 'ERROR'}
"""Environment of new processes: NNI is imported, and torch finds no unused weights, without a warning."""


def check_devices(devices: int, accelerator: str, data: RetrainData) -> None:
    """Refuse a number of devices that cannot be.

    Parameters
    ----------
    devices, accelerator, data
        As in :func:`nni_wcnas.retrain.retraining.retrain`.

    Raises
    ------
    ValueError
        If there are not as many, or the data cannot be shared out over them.
    """
    if devices < 1:
        raise ValueError(f'devices is {devices}: give at least 1')
    if devices == 1:
        return
    if accelerator != 'cpu' and devices > torch.cuda.device_count():
        raise ValueError(f'devices is {devices}, but the GPUs here are {torch.cuda.device_count()}: give fewer, or '
                         "accelerator='cpu' for as many processes on the CPU")
    if not hasattr(data, 'shared_out'):
        raise ValueError(f'devices is {devices}, but the data have no shared_out to share a batch out by: give data '
                         'with it, or devices=1')
    data.shared_out(0, devices)  # Tells a batch that is too small.


def train_on_devices(job: Job, devices: int) -> list[dict[str, float]]:
    """Train with one process a device, from the checkpoint on; as :meth:`Job.train`.

    Raises
    ------
    ValueError
        What a process met of these, or if network or data cannot be handed to another process.
    KeyboardInterrupt
        On Ctrl-C.
    """
    with TemporaryDirectory() as scratch:
        job = replace(job, run=job.run or RunDirectory(scratch))
        errors = get_context('spawn').SimpleQueue()
        with _started(job, devices, errors) as processes:
            try:
                while not processes.join(grace_period=0):
                    pass
            except ProcessException as error:
                if not errors.empty():
                    raise errors.get() from None
                if isinstance(error, ProcessExitedException) and error.signal_name == 'SIGINT':
                    raise KeyboardInterrupt from None
                raise
        state = job.read()
    job.network.load_state_dict(state['network'])
    return state['history']


@contextmanager
def _started(job: Job, devices: int, errors: SimpleQueue[ValueError]) -> Iterator[ProcessContext]:
    """The processes of a training, none of which outlives the context."""
    share = _Share(devices, find_free_network_port(), max(1, torch.get_num_threads() // devices),
                   get_start_method(allow_none=True))
    logger = logging.getLogger('torch.multiprocessing.spawn')
    level = logger.level
    try:
        with _surroundings():
            processes = start_processes(_train_share, (job, share, errors), devices, join=False)
    except (AttributeError, TypeError, pickle.PicklingError) as error:
        raise ValueError(f'the network and data go to one process a device, but cannot be pickled ({error}): define '
                         'their classes at the top of a module, or give devices=1') from error
    logger.setLevel(logging.ERROR)  # Which processes torch has to end is no news beside the error.
    try:
        yield processes
    finally:
        logger.setLevel(level)
        for process in processes.processes:
            process.kill()
            process.join()


@contextmanager
def _surroundings() -> Iterator[None]:
    """Start processes that are quiet, and deaf to Ctrl-C while they import what they need."""
    before = dict(os.environ)
    os.environ |= {**_QUIET, 'PYTHONWARNINGS': ','.join(
        filter(None, (before.get('PYTHONWARNINGS'), _QUIET['PYTHONWARNINGS'])))}
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        for name in _QUIET:
            del os.environ[name]
        os.environ |= before


class _Share(NamedTuple):
    """What each process is told."""

    devices: int
    port: int
    threads: int
    start_method: str | None

    def settle(self, rank: int, accelerator: str) -> None:
        """Make this process one of them; it ends at once on Ctrl-C, and when the one that started it is no more."""
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        set_start_method(self.start_method, force=True)  # Those that load data would be slow to spawn in each epoch.
        os.environ |= {
            'LOCAL_RANK': str(rank), 'NODE_RANK': '0', 'MASTER_ADDR': '127.0.0.1', 'MASTER_PORT': str(self.port)}
        if accelerator == 'cpu':
            torch.set_num_threads(self.threads)


def _train_share(rank: int, job: Job, share: _Share, errors: SimpleQueue[ValueError]) -> None:
    """What one process does."""
    share.settle(rank, job.accelerator)
    network = copy.deepcopy(job.network)  # What came here lies in memory that all processes share.
    data = job.data.shared_out(rank, share.devices)  # type: ignore[attr-defined]
    try:
        replace(job, network=network, data=data, progress=job.progress and rank == 0).train(share.devices)
    except ValueError as error:
        errors.put(error)
        os._exit(1)  # The interpreter's way out would wait for the other processes.
    distributed.destroy_process_group()
