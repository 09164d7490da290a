"""What the cells that short searches find on CIFAR-10 are truly worth: clean, under corruptions, in their worst class.

    python tests/benchmarks/truth.py search --root CIFAR10 --out runs/truth      # 80 searches, half an hour of one core
    python tests/benchmarks/truth.py table --table nb201_cifar10_worst_case.csv.gz --out runs/truth

The space is NAS-Bench-201's, the supernet small, the search a few dozen batches; ``wcnas_<base>`` is the worst case on
a base, with an augmentation policy and a small auxiliary model, neither of them pre-trained, and A and B on every batch
(``--every``), as often as the base updates A. ``random`` draws an operation for each edge. The part ``search`` knows no
true value: it writes a record a search, and makes none again that is there. The part ``table`` looks the cells up, in a
table of all 15,625, and prints Markdown: mean and deviation over the seeds, the median rank, and the verdict of
:mod:`nni_wcnas.compare.verdict`, by paired tests that are one family for Holm's correction.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean, median
from typing import Any

import records
import torch
from nasbench201 import drawn
from tqdm import tqdm

import nni_wcnas as wc
from nni_wcnas.compare.hypothesis_test import summarise
from nni_wcnas.compare.verdict import Comparison, compare_measures
from nni_wcnas.measure.truth import Standing, load_truth
from nni_wcnas.spaces.nasbench201 import to_string

METHODS = ('random', 'darts', 'darts_2nd', 'drnas', 'gdas', 'wcnas_darts', 'wcnas_drnas', 'wcnas_gdas')
MEASURES = {'clean': 'clean', 'mean_corruption': 'mean of 15 corruptions', 'worst_class': 'worst class'}
NUMBERS = ('limit', 'epochs', 'batch_size', 'width', 'cells', 'arc_learning_rate', 'every', 'auxiliary')
"""Options that a record depends on."""
WORST_CASE = 'wcnas_'

Found = dict[str, dict[int, dict[str, Standing]]]
"""By method, seed and measure."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('part', choices=('search', 'table'))
    parser.add_argument('--out', type=Path, default=Path('runs/truth'), help='folder of the records')
    parser.add_argument('--methods', nargs='+', default=METHODS, choices=METHODS)
    parser.add_argument('--seeds', type=int, nargs='+', default=range(10))
    parser.add_argument('--table', type=Path, help='true values of all cells, .csv.gz')
    parser.add_argument('--root', type=Path, help='folder that holds cifar-10-batches-py')
    parser.add_argument('--limit', type=int, default=1000, help='images, half for the weights, half for A')
    parser.add_argument('--epochs', type=int, default=3)
    parser.add_argument('--batch-size', type=int, default=32)
    parser.add_argument('--width', type=int, default=4)
    parser.add_argument('--cells', type=int, default=1, help='of each of the three stages')
    parser.add_argument('--arc-learning-rate', type=float, default=0.02, help="far above the papers': few steps")
    parser.add_argument('--every', type=int, default=1, help='batches to an update of A and B, in the worst case')
    parser.add_argument('--auxiliary', default='test_resnet', help='model of timm, in the worst case')
    options = parser.parse_args()
    needed = {'search': 'root', 'table': 'table'}[options.part]
    if getattr(options, needed) is None:
        parser.error(f'the part {options.part} needs --{needed}')
    if options.part == 'search':
        search_all(options)
    else:
        print_tables(options)


# ---------------------------------------- searches


def search_all(options: argparse.Namespace) -> None:
    """Seed by seed, so that what is there so far is fair."""
    torch.set_num_threads(1)
    methods = list(_known(options.methods))
    for seed, method in tqdm([(seed, method) for seed in options.seeds for method in methods]):
        numbers = {name: getattr(options, name) for name in NUMBERS}
        records.recorded(
            _path(options.out, method, seed),
            {**numbers, 'method': method, 'seed': seed},
            lambda method=method, seed=seed: {'architecture': find(method, seed, options)},
        )


def find(method: str, seed: int, options: argparse.Namespace) -> str:
    """The string of the cell that a method finds."""
    records.prepare(seed)
    space = wc.spaces.NASBench201(width=options.width, num_cells=options.cells)
    if method == 'random':
        return to_string(drawn(space, seed))
    data = wc.data.CIFAR10(options.root, batch_size=options.batch_size, limit=options.limit, seed=seed)
    is_worst_case = method.startswith(WORST_CASE)
    tester = {'tester': wc.AugmentationPolicy(10), 'auxiliary': options.auxiliary} if is_worst_case else {}
    evaluator = wc.SearchEvaluator(
        data, max_epochs=options.epochs, enable_progress_bar=False, accelerator='cpu', devices=1, **tester
    )
    rate = {'arc_learning_rate': options.arc_learning_rate}
    strategy = (
        wc.presets.wcnas(base=_base(method), every=options.every, **rate) if is_worst_case
        else wc.presets.PRESETS[method](**rate)
    )
    return to_string(records.search(strategy, space, evaluator))


def _base(method: str) -> str:
    """The preset, in the worst case that which it is applied to."""
    return method.removeprefix(WORST_CASE)


def _known(methods: Sequence[str]) -> Iterator[str]:
    """Those whose preset this version has."""
    for method in methods:
        if method == 'random' or _base(method) in wc.presets.BASES:
            yield method
        else:
            print(f'{method} is left out: this version has no preset {_base(method)}', file=sys.stderr)


def _path(out: Path, method: str, seed: int) -> Path:
    return out / f'{method}_{seed}.json'


# ---------------------------------------- tables


def print_tables(options: argparse.Namespace) -> None:
    """Of the records that are there."""
    table = load_truth(options.table).select(MEASURES)
    found: Found = {}
    seconds: dict[str, list[float]] = {}
    for method, seed, record in _records(options):
        found.setdefault(method, {})[seed] = table.standings(record['architecture'])
        seconds.setdefault(method, []).append(record['seconds'])
    values = {
        measure: {
            method: {seed: each[measure].value for seed, each in seeds.items()} for method, seeds in found.items()
        }
        for measure in MEASURES
    }
    print(f'{records.table(_header(len(table.architectures)), _rows(found, seconds))}\n')
    if len(found) < 2:
        print('One method alone: there is nothing to compare it with.')
        return
    comparisons = compare_measures(values, lower_is_better=False)
    for measure, label in MEASURES.items():
        print(f'{label}: {comparisons[measure].verdict}')
    header = ('worst case, base', 'measure', 'difference, points', '95 %', 'p', 'p, Holm')
    print(f'\n{records.table(header, _pairs(comparisons))}')


def _records(options: argparse.Namespace) -> Iterator[tuple[str, int, dict[str, Any]]]:
    """Method, seed and record, of the same numbers all."""
    told: dict[str, Any] = {}
    for method in options.methods:
        for seed in options.seeds:
            path = _path(options.out, method, seed)
            if path.exists():
                record = json.loads(path.read_text())
                numbers = {name: record['settings'][name] for name in NUMBERS}
                if numbers != (told or numbers):
                    raise SystemExit(f'{path} was made with other numbers than the first record; delete it')
                told = numbers
                yield method, seed, record


def _header(count: int) -> list[str]:
    measures = (f'{label}, % (median rank of {count:,})' for label in MEASURES.values())
    return ['method', 'searches', *measures, 'seconds']


def _rows(found: Found, seconds: dict[str, list[float]]) -> Iterator[list[str]]:
    """A method each."""
    for method, seeds in found.items():
        cells = []
        for measure in MEASURES:
            standings = [each[measure] for each in seeds.values()]
            cells.append(f'{_spread([100 * each.value for each in standings])} '
                         f'({median(each.rank for each in standings):,.0f})')
        yield [f'`{method}`', str(len(seeds)), *cells, f'{fmean(seconds[method]):.0f}']


def _spread(values: Sequence[float]) -> str:
    found = summarise(values)
    return f'{found.mean:.2f}' if found.deviation is None else f'{found.mean:.2f} ± {found.deviation:.2f}'


def _pairs(comparisons: dict[str, Comparison]) -> Iterator[list[str]]:
    """What the worst case changes on each base; of all pairs, which the correction counts."""
    for measure, label in MEASURES.items():
        for row in comparisons[measure].rows:
            if row.method == f'{WORST_CASE}{row.baseline}':
                numbers = ('–',) * 3 if row.low is None else (
                    f'{100 * row.low:+.2f} to {100 * row.high:+.2f}', f'{row.p_value:.2g}', f'{row.p_adjusted:.2g}'
                )
                yield [f'`{row.method}`, `{row.baseline}`', label, f'{100 * row.difference:+.2f}', *numbers]


if __name__ == '__main__':
    main()
