"""What the testers' images become in a search, by lambda and seed: the tables of docs/results.md.

    python tests/benchmarks/tester_effect.py --out runs/tester_effect            # 10 searches, half an hour on one core
    python tests/benchmarks/tester_effect.py --out runs/tester_effect --table    # the tables, from the records

Handwritten digits, the NAS-Bench-201 space (8 channels), A, B and the generator on every batch, pre-trained testers and
auxiliary models. Each search is ``nni-wcnas search`` with the settings below; its record, in
tests/benchmarks/recorded/tester_effect, keeps what metrics.csv says of the images. What is there is not run again.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
import yaml
from records import commit, processor

RECORDS = Path(__file__).parent / 'recorded' / 'tester_effect'
SETTINGS = {
    'data': {'name': 'digits', 'limit': 800, 'batch_size': 25},
    'space': {'name': 'nasbench201', 'width': 8, 'num_cells': 1},
    'method': {'preset': 'wcnas', 'every': 1, 'arc_learning_rate': 0.01},
    'search': {'epochs': 12},
    'pretraining': {'steps': 900, 'lr': 1e-3, 'discriminator_steps': 2, 'seed': 0},
    'device': 'cpu',
}
TESTERS: dict[str, dict[str, Any]] = {
    'augmentation_policy': {
        'tester': {'name': 'augmentation_policy', 'pretrained': 'auto'},
        'auxiliary': {'steps': 500, 'pretrained': 'auto'},
        'rate': 0.05,
    },
    'fq_gan': {
        'tester': {'name': 'fq_gan', 'width': 16, 'latent': 32, 'dictionary_size': 64, 'pretrained': 'auto'},
        'auxiliary': {'name': 'tied', 'steps': 500, 'pretrained': 'auto'},
        'rate': 0.02,
    },
}
LAMBDAS = {'augmentation_policy': (0, 1, 100), 'fq_gan': (0, 1)}
SEEDS = (0, 1)
SHOWN = ('reference_error', 'fid', 'auxiliary_error', 'auxiliary_real_error', 'loss_decov', 'entropy')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', type=Path, required=True, help='folder of the runs')
    parser.add_argument('--table', action='store_true', help='print the tables and run nothing')
    options = parser.parse_args()
    if not options.table:
        for seed in SEEDS:
            for tester, lambdas in LAMBDAS.items():
                for trade_off in lambdas:
                    search(options.out, tester, trade_off, seed)
    table()


def search(out: Path, tester: str, trade_off: float, seed: int) -> None:
    """One search and its record."""
    record, name = RECORDS / f'{tester}-{trade_off}-{seed}.json', f'{tester}-{trade_off}-{seed}'
    if record.exists():
        return
    own = TESTERS[tester]
    method = {**SETTINGS['method'], 'trade_off': trade_off, 'hyperparameter_lr': own['rate']}
    settings = {**SETTINGS, 'method': method, 'tester': own['tester'], 'seed': seed}
    if trade_off:
        settings['auxiliary'] = own['auxiliary']
    out.mkdir(parents=True, exist_ok=True)
    path = out / f'{name}.yml'
    path.write_text(yaml.safe_dump(settings))
    start = time.perf_counter()
    subprocess.run([sys.executable, '-m', 'nni_wcnas.cli', 'search', str(path), '--run', str(out / name)], check=True)
    rows = list(csv.DictReader((out / name / 'metrics.csv').read_text().splitlines()))
    history = [{key: float(row[key]) for key in ('epoch', *SHOWN) if row.get(key)} for row in rows]
    record.parent.mkdir(parents=True, exist_ok=True)
    record.write_text(json.dumps({
        'commit': commit(), 'machine': processor(), 'torch': torch.__version__, 'settings': settings,
        'seconds': time.perf_counter() - start, 'history': history,
    }, indent=1) + '\n')


def table() -> None:
    """Of all records, as Markdown."""
    print('| tester, lambda, seed | reference error before, after 3, 6, 9, 12 epochs | FID before, at the end | '
          'error of the auxiliary model on the images, on real ones | entropy of A |\n|---|---|---|---|---|')
    for path in sorted(RECORDS.glob('*.json'), key=lambda path: _order(path.stem)):
        history = json.loads(path.read_text())['history']
        errors = ', '.join(f'{history[i]["reference_error"]:.2f}' for i in (0, 3, 6, 9, 12))
        last, (tester, trade_off, seed) = history[-1], path.stem.rsplit('-', 2)
        judged = [last[key] for key in ('auxiliary_error', 'auxiliary_real_error') if key in last]
        own = ', '.join(f'{error:.2f}' for error in judged) or 'none'
        print(f'| `{tester}`, {trade_off}, {seed} | {errors} | {history[0]["fid"]:.1f}, {last["fid"]:.1f} | {own} | '
              f'{last["entropy"]:.2f} |')


def _order(name: str) -> tuple[str, float, int]:
    tester, trade_off, seed = name.rsplit('-', 2)
    return tester, float(trade_off), int(seed)


if __name__ == '__main__':
    main()
