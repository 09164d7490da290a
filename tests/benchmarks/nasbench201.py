"""Which architectures the methods find in NAS-Bench-201, and how good these truly are.

    python tests/benchmarks/nasbench201.py --root CIFAR --accuracies nb201_cifar10_12epochs.csv.gz --out runs/nb201
    python tests/benchmarks/nasbench201.py ... --methods darts drnas --seeds 0 1 2 --images 10000 --epochs 50

Searches on a part of CIFAR-10 in a small supernet of the benchmark's space; the accuracy of what is found is looked up:
that of the benchmark's own training for 12 epochs on all of CIFAR-10. The table of accuracies has a row
``index,arch_str,c10_val_12,c10_test_12`` for each of the 15,625 architectures; it judges and never chooses. ``random``
draws an operation for each edge. A search whose record is in ``--out`` is not run again.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import random
import statistics
from pathlib import Path
from typing import Any

import records
from tqdm import tqdm

import nni_wcnas as wc
from nni_wcnas.spaces.nasbench201 import to_string

METHODS = ('random', 'darts', 'drnas', 'darts_pt', 'sdarts_rs', 'pc_darts')


def find(method: str, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """The architecture that a method finds."""
    records.prepare(seed)
    space = wc.spaces.NASBench201(width=options.width, num_cells=options.cells)
    if method == 'random':
        return {'architecture': to_string(drawn(space, seed))}
    data = wc.data.CIFAR10(options.root, batch_size=options.batch_size, limit=options.images, seed=seed)
    evaluator = wc.SearchEvaluator(
        data, max_epochs=options.epochs, enable_progress_bar=False, accelerator='cpu', devices=1, **_tester(method)
    )
    return {'architecture': to_string(records.search(_strategy(method, options), space, evaluator))}


def drawn(space: wc.spaces.NASBench201, seed: int) -> dict[str, str]:
    """A sample at random."""
    chooser = random.Random(seed)
    return {label: chooser.choice(space.operations) for label in space.simplify()}


def _strategy(method: str, options: argparse.Namespace) -> wc.Search:
    """The preset, with the step size of the short searches; a warm-up keeps its share."""
    numbers: dict[str, Any] = {'arc_learning_rate': options.arc_learning_rate}
    if method == 'pc_darts':
        numbers['schedule'] = wc.SingleStage(warmup=wc.recipe(method).warmup_of(options.epochs))
    if method == 'darts_pt':
        numbers['tune_epochs'] = options.tune_epochs
    return wc.presets.PRESETS[method](**numbers)


def _tester(method: str) -> dict[str, Any]:
    return {'tester': wc.FQGAN(10, width=16, latent=32, dictionary_size=64)} if method == 'wcnas' else {}


def accuracies(path: Path) -> dict[str, float]:
    """Test accuracy in % by architecture."""
    with gzip.open(path, 'rt') as file:
        return {row['arch_str']: float(row['c10_test_12']) for row in csv.DictReader(file)}


def judged(record: dict[str, Any], truth: dict[str, float]) -> dict[str, Any]:
    """With true accuracy, rank and number of skips."""
    text = record['architecture']
    rank = 1 + sum(value > truth[text] for value in truth.values())
    return {**record, 'accuracy': truth[text], 'rank': rank, 'skips': text.count('skip_connect')}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--root', type=Path, required=True, help='folder that holds cifar-10-batches-py')
    parser.add_argument('--accuracies', type=Path, required=True, help='the table of true accuracies, .csv.gz')
    parser.add_argument('--out', type=Path, default=Path('runs/nasbench201'), help='folder of the records')
    parser.add_argument('--methods', nargs='+', default=METHODS, choices=('random', *wc.presets.PRESETS))
    parser.add_argument('--seeds', type=int, nargs='+', default=(0, 1, 2))
    parser.add_argument('--images', type=int, default=2500, help='half for the weights, half for the architecture')
    parser.add_argument('--epochs', type=int, default=20)
    parser.add_argument('--tune-epochs', type=int, default=1, help='of darts_pt, between decisions')
    parser.add_argument('--batch-size', type=int, default=64)
    parser.add_argument('--width', type=int, default=8)
    parser.add_argument('--cells', type=int, default=1, help='of each of the three stages')
    parser.add_argument('--arc-learning-rate', type=float, default=3e-3, help="far above the papers': few steps")
    options = parser.parse_args()
    truth = accuracies(options.accuracies)
    names = ('images', 'epochs', 'tune_epochs', 'batch_size', 'width', 'cells', 'arc_learning_rate')
    settings = {name: getattr(options, name) for name in names}
    found: dict[str, list[dict[str, Any]]] = {method: [] for method in options.methods}
    for seed, method in tqdm([(seed, method) for seed in options.seeds for method in options.methods]):
        record = records.recorded(
            options.out / f'{method}_{seed}.json',
            {**settings, 'method': method, 'seed': seed},
            lambda method=method, seed=seed: find(method, seed, options),
        )
        found[method].append(judged(record, truth))
    header = ('method', 'seed', 'architecture', 'test accuracy, %', 'rank of 15,625', 'skips', 'seconds')
    rows = [
        (method, r['settings']['seed'], f'`{r["architecture"]}`', r['accuracy'], r['rank'], r['skips'], r['seconds'])
        for method, group in found.items()
        for r in group
    ]
    print(records.table(header, rows))
    means = [
        (method, f'{statistics.mean(values):.2f}', f'{min(values):.2f}', f'{max(values):.2f}')
        for method, group in found.items()
        for values in [[r['accuracy'] for r in group]]
    ]
    print('\n' + records.table(('method', 'mean', 'worst', 'best'), means))


if __name__ == '__main__':
    main()
