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
"""Environment of new processes: they import NNI, and torch searches for unused weights, without a warning."""


def check_devices(devices: int, accelerator: str, data: RetrainData) -> None:
    """Refuse a number of devices that this machine or the data cannot serve.

    Parameters
    ----------
    devices, accelerator, data
        As in :func:`nni_wcnas.retrain.retraining.retrain`.

    Raises
    ------
    ValueError
        If there are fewer devices, or the data cannot be shared out over them.
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
    data.shared_out(0, devices)  # Raises a ValueError for a batch that is too small, before a process is started.


def train_on_devices(job: Job) -> list[dict[str, float]]:
    """Train with one process a device, from the checkpoint on; else as :meth:`Job.train`.

    Returns
    -------
    list of dict
        The rows of all epochs; the trained weights are in the job's network.

    Raises
    ------
    ValueError
        If a process raised one, or network or data cannot be handed to another process.
    KeyboardInterrupt
        On Ctrl-C.
    """
    with TemporaryDirectory() as scratch:
        # The checkpoint is how the trained network comes back, so there has to be one, without a run in a scratch
        # folder. Each process reads it itself: tensors that are handed on would be shared between all of them.
        job = replace(job, run=job.run or RunDirectory(scratch), checkpoint={})
        # torch hands on an exception as the text of its traceback; this queue keeps a ValueError as what it is.
        errors = get_context('spawn').SimpleQueue()
        with _started(job, errors) as processes:
            try:
                # Returns as each process ends, True after the last. Without a period of grace: those that are left wait
                # in a collective operation for the one that failed.
                while not processes.join(grace_period=0):
                    pass
            except ProcessException as error:
                if not errors.empty():
                    raise errors.get() from None
                # Ctrl-C reaches all processes of the terminal, and may end a child before this one takes notice.
                if isinstance(error, ProcessExitedException) and error.signal_name == 'SIGINT':
                    raise KeyboardInterrupt from None
                raise
        state = job.read()
    job.network.load_state_dict(state['network'])  # What is to be evaluated: the moving average, if any.
    return state['history']


@contextmanager
def _started(job: Job, errors: SimpleQueue[ValueError]) -> Iterator[ProcessContext]:
    """Start the processes of a training; none of them outlives the context."""
    # On the CPU the processes share its threads; many in each would only get into one another's way.
    share = _Share(find_free_network_port(), max(1, torch.get_num_threads() // job.devices),
                   get_start_method(allow_none=True))
    logger = logging.getLogger('torch.multiprocessing.spawn')
    level = logger.level
    try:
        with _surroundings():
            processes = start_processes(_train_share, (job, share, errors), job.devices, join=False)
    except (AttributeError, TypeError, pickle.PicklingError) as error:
        raise ValueError(f'the network and data go to one process a device, but cannot be pickled ({error}): define '
                         'their classes at the top of a module, or give devices=1') from error
    # Which processes torch has to end is no news beside the error.
    logger.setLevel(logging.ERROR)
    try:
        yield processes
    finally:
        logger.setLevel(level)
        for process in processes.processes:
            process.kill()
            process.join()


@contextmanager
def _surroundings() -> Iterator[None]:
    """Give processes that are started inside the context a quiet environment, and block Ctrl-C until they settle.

    New processes inherit the environment and the mask of blocked signals. Ctrl-C during their imports would print the
    traceback of a library; they unblock it in :meth:`_Share.settle`.
    """
    before = dict(os.environ)
    # The user's own filters stay.
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
    """What each process of a training is told beside its job: settings that are the same for all of them."""

    port: int
    threads: int
    start_method: str | None

    def settle(self, rank: int, accelerator: str) -> None:
        """Make this process one of the training's: set its place, signals and threads.

        It ends at once on Ctrl-C, and when the process that started it is gone: torch then sends it the same signal.

        Parameters
        ----------
        rank
            Which of the processes this is, from 0.
        accelerator
            Lightning's name of the devices.
        """
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        # Workers that load data are started in each epoch, by the caller's method: to spawn them would be slow.
        set_start_method(self.start_method, force=True)
        # What Lightning's environment reads: with these it joins the processes instead of starting its own.
        os.environ |= {
            'LOCAL_RANK': str(rank), 'NODE_RANK': '0', 'MASTER_ADDR': '127.0.0.1', 'MASTER_PORT': str(self.port)}
        if accelerator == 'cpu':
            torch.set_num_threads(self.threads)


def _train_share(rank: int, job: Job, share: _Share, errors: SimpleQueue[ValueError]) -> None:
    """Train with one device's share of each batch: what each started process does."""
    share.settle(rank, job.accelerator)
    # torch passes tensors between processes as shared memory: without a copy all would write to the same weights.
    network = copy.deepcopy(job.network)
    data = job.data.shared_out(rank, job.devices)  # type: ignore[attr-defined]
    try:
        # Only the first process shows a bar; it alone writes, too (see `CheckpointWriter`).
        replace(job, network=network, data=data, checkpoint=job.read(), progress=job.progress and rank == 0).train()
    except ValueError as error:
        errors.put(error)
        os._exit(1)  # The interpreter's way out would wait for the other processes.
    distributed.destroy_process_group()
