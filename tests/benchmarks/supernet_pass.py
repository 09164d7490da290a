"""Seconds of one pass through the supernet, forward and backward, of NNI, the plain cell and the fast cell.

    python tests/benchmarks/supernet_pass.py                                   # 8 channels, 16 pixels, batch 25
    python tests/benchmarks/supernet_pass.py --width 16 --size 32 --batch-size 16 --json record.json

The DARTS space with three cells, one thread. Contenders take turns in one process, so that a noisy machine disturbs all
alike; seconds are those of the processor, ratios are of medians.
"""

from __future__ import annotations

import argparse
import json
import logging
import platform
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import median

import nni
import nni.nas.strategy as nni_strategy
import torch
from records import commit, processor
from torch.nn import functional as F

import nni_wcnas as wc

CONTENDERS: dict[str, Callable[[], nni_strategy.DARTS]] = {
    'nni': nni_strategy.DARTS,
    'plain': lambda: wc.presets.darts(fast_cell=False),
    'fast': wc.presets.darts,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--width', type=int, default=8)
    parser.add_argument('--size', type=int, default=16, help='pixels of a side')
    parser.add_argument('--batch-size', type=int, default=25)
    parser.add_argument('--rounds', type=int, default=15)
    parser.add_argument('--json', type=Path, help='write the record there')
    options = parser.parse_args()
    warnings.filterwarnings('ignore')
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    seconds = measure(options)
    ratios = {name: round(value / seconds['nni'], 3) for name, value in seconds.items()}
    print(json.dumps({'seconds': seconds, 'of_nni': ratios}))
    if options.json is not None:
        told = {name: value for name, value in vars(options).items() if name != 'json'}
        versions = {'python': platform.python_version(), 'torch': torch.__version__, 'nni': nni.__version__}
        record = {**told, 'seconds': seconds, 'of_nni': ratios, 'commit': commit(), 'machine': processor(), **versions}
        options.json.write_text(json.dumps(record, indent=1) + '\n')


def measure(options: argparse.Namespace) -> dict[str, float]:
    """Median seconds by contender."""
    torch.manual_seed(0)
    images = torch.randn(options.batch_size, 3, options.size, options.size)
    labels = torch.randint(10, (options.batch_size,))
    supernets = {
        name: make().mutate_model(wc.spaces.DARTS(width=options.width, num_cells=3))
        for name, make in CONTENDERS.items()
    }
    seconds: dict[str, list[float]] = {name: [] for name in supernets}
    for _ in range(options.rounds + 1):
        for name, supernet in supernets.items():
            start = time.process_time()
            supernet.zero_grad()
            F.cross_entropy(supernet(images), labels).backward()
            seconds[name].append(time.process_time() - start)
    return {name: round(median(values[1:]), 4) for name, values in seconds.items()}  # The first pass warms up.


if __name__ == '__main__':
    main()
