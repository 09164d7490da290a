"""A training on one device is one, whatever a batch system says of its surroundings."""

from __future__ import annotations

import os
from typing import Any

from pytorch_lightning.plugins.environments import LightningEnvironment

__all__ = ['one_device']


def one_device() -> dict[str, Any]:
    """Return arguments of Lightning's trainer that keep it from obeying SLURM's, LSF's, torchrun's or MPI's variables.

    By default it joins a training of as many processes as these name, saves ``hpc_ckpt_1.ckpt`` into the working
    directory on SLURM's signal, queues the job again, and begins any later training there from that file.

    Returns
    -------
    dict
        ``plugins``, to which others may be added, and ``default_root_dir``.
    """
    # Lightning looks for its `hpc_ckpt_*.ckpt` in this folder, so it is one that cannot hold any. Checkpoints that are
    # asked for have a folder of their own.
    return {'plugins': [LightningEnvironment()], 'default_root_dir': os.devnull}
