"""Do searches collapse? What fills the normal cell on RobustDARTS's spaces S2 and S4 after many epochs.

    python tests/benchmarks/collapse.py --root CIFAR --out runs/collapse
    python tests/benchmarks/collapse.py ... --spaces s2 --methods darts --epochs 100 --images 5000

S2 has skip_connect and sep_conv_3x3, S4 has noise and sep_conv_3x3. Counted are the skips (S2) or noises (S4) among the
8 operations of the normal cell and of the reduction cell. A search whose record is in ``--out`` is not run again.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import records
from tqdm import tqdm

import nni_wcnas as wc

EMPTY = {'s2': 'skip_connect', 's4': 'noise'}
METHODS = ('darts', 'sdarts_rs', 'darts_pt', 'wcnas')


def find(space_name: str, method: str, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """The cell that a method finds, and how empty it is."""
    records.prepare(seed)
    space = getattr(wc.spaces, space_name)(width=options.width, num_cells=options.cells)
    data = wc.data.CIFAR10(options.root, batch_size=options.batch_size, limit=options.images, seed=seed)
    numbers: dict[str, Any] = {'arc_learning_rate': options.arc_learning_rate}
    tester = None
    if method == 'darts_pt':
        numbers['tune_epochs'] = options.tune_epochs
    if method == 'wcnas':
        numbers['every'] = 1  # as many steps of the architecture as the others take
        tester = wc.FQGAN(10, width=16, latent=32, dictionary_size=64)
    evaluator = wc.SearchEvaluator(
        data, tester=tester, max_epochs=options.epochs, enable_progress_bar=False, accelerator='cpu', devices=1
    )
    sample = records.search(wc.presets.PRESETS[method](**numbers), space, evaluator)
    chosen = {key: value for key, value in sample.items() if '/op_' in key}
    empty = {
        label: sum(value == EMPTY[space_name] for key, value in chosen.items() if key.startswith(label))
        for label in ('normal', 'reduce')
    }
    return {'sample': {str(key): value for key, value in sample.items()}, 'empty': empty}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--root', type=Path, required=True, help='folder that holds cifar-10-batches-py')
    parser.add_argument('--out', type=Path, default=Path('runs/collapse'), help='folder of the records')
    parser.add_argument('--spaces', nargs='+', default=tuple(EMPTY), choices=EMPTY)
    parser.add_argument('--methods', nargs='+', default=METHODS, choices=wc.presets.PRESETS)
    parser.add_argument('--seeds', type=int, nargs='+', default=(0,))
    parser.add_argument('--images', type=int, default=500, help='half for the weights, half for the architecture')
    parser.add_argument('--epochs', type=int, default=50)
    parser.add_argument('--tune-epochs', type=int, default=1, help='of darts_pt, between decisions')
    parser.add_argument('--batch-size', type=int, default=50)
    parser.add_argument('--width', type=int, default=8)
    parser.add_argument('--cells', type=int, default=3)
    parser.add_argument('--arc-learning-rate', type=float, default=3e-3, help="far above the papers' 3e-4: few steps")
    options = parser.parse_args()
    names = ('images', 'epochs', 'tune_epochs', 'batch_size', 'width', 'cells', 'arc_learning_rate')
    settings = {name: getattr(options, name) for name in names}
    rows = []
    for space, method, seed in tqdm(
        [(space, method, seed) for seed in options.seeds for space in options.spaces for method in options.methods]
    ):
        record = records.recorded(
            options.out / f'{space}_{method}_{seed}.json',
            {**settings, 'space': space, 'method': method, 'seed': seed},
            lambda space=space, method=method, seed=seed: find(space, method, seed, options),
        )
        empty = record['empty']
        rows.append((space, EMPTY[space], method, seed, empty['normal'], empty['reduce'], record['seconds']))
    header = ('space', 'counted', 'method', 'seed', 'in the normal cell, of 8', 'in the reduction cell', 'seconds')
    print(records.table(header, sorted(rows)))


if __name__ == '__main__':
    main()
