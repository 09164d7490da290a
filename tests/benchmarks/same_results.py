"""Do the same seeds still give the same architectures, records and measures? To be asked before and after a change.

    python tests/benchmarks/same_results.py make BEFORE             # five minutes; before the change
    python tests/benchmarks/same_results.py make AFTER              # after it
    python tests/benchmarks/same_results.py compare BEFORE AFTER    # every number that differs, by file and key

What is made: on digits a search of DARTS and one of the worst case with a tester of each kind (a policy, corruptions,
an attack, a GAN), each found cell retrained and evaluated under corruptions and attacks, all compared. Every command
is one that a user types, in a process of its own. Seconds, paths, versions and dates are left out.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

DATA = {'name': 'digits', 'limit': 160, 'batch_size': 20}
SPACE = {'name': 'darts', 'width': 4, 'num_cells': 3, 'num_nodes': 2}
METHODS: dict[str, dict[str, Any]] = {
    'darts': {'method': {'preset': 'darts'}},
    'policy': {'tester': 'augmentation_policy'},
    'corruptions': {'tester': 'corruptions'},
    'perturbation': {'tester': 'perturbation'},
    'fq_gan': {'tester': {'name': 'fq_gan', 'width': 8, 'latent': 16, 'dictionary_size': 32}},
}
IDLE = ('seconds', 'directory', 'root', 'path', 'date', 'time', 'version', 'commit', 'machine', 'device', 'checkpoint')
"""Keys that hold one of these words say nothing of the result."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(required=True)
    maker = parts.add_parser('make')
    maker.add_argument('out', type=Path)
    maker.set_defaults(run=lambda options: make(options.out))
    comparer = parts.add_parser('compare')
    comparer.add_argument('before', type=Path)
    comparer.add_argument('after', type=Path)
    comparer.set_defaults(run=lambda options: sys.exit(compare(options.before, options.after)))
    options = parser.parse_args()
    options.run(options)


def make(out: Path) -> None:
    """Run every command, and keep all that they write below a folder."""
    out.mkdir(parents=True)
    for name, own in METHODS.items():
        settings = {'data': DATA, 'space': SPACE, 'method': {'preset': 'wcnas', 'every': 2}, 'search': {'epochs': 2}}
        settings |= own
        (out / f'{name}.yml').write_text(yaml.safe_dump(settings))
        run = out / name
        data = yaml.safe_dump(DATA, default_flow_style=True).strip()
        _command('search', out / f'{name}.yml', '--run', run, '--cpu')
        small = ('--epochs', 2, '--channels', 4, '--cells', 3, '--cpu')
        _command('retrain', run, '--data', data, '--run', run / 'retraining', *small)
        corruptions = ('--corruptions', 'fog,contrast', '--corruption-severities', '1,5')
        attacks = ('--attacks', 'fgsm,pgd_3', '--attack-limit', 50)
        _command('evaluate', run / 'retraining', *corruptions, *attacks, '--cpu')
    runs = {name: out / name / 'retraining' for name in METHODS}
    # The worst cases differ in their tester alone, so each needs a name of its own.
    names = [word for name, run in runs.items() for word in ('--name', f'{run}={name}')]
    _command('compare', *runs.values(), *names, '--out', out / 'comparison')


def _command(*words: object) -> None:
    """Run a command of the package that this process would import, on one thread."""
    environment = {**os.environ, 'OMP_NUM_THREADS': '1'}
    subprocess.run([sys.executable, '-m', 'nni_wcnas.cli', *map(str, words)], check=True, env=environment)


def compare(before: Path, after: Path) -> int:
    """Print every value that differs, and return how many do; 1 more for each file that only one folder has."""
    files = {path.relative_to(folder) for folder in (before, after) for path in folder.rglob('*') if _is_result(path)}
    differing = 0
    for file in sorted(files):
        if not ((before / file).exists() and (after / file).exists()):
            print(f'{file}: only {"before" if (before / file).exists() else "after"}')
            differing += 1
            continue
        old, new = dict(_values(before / file)), dict(_values(after / file))
        for key in sorted(old.keys() | new.keys()):
            if not any(word in key.lower() for word in IDLE) and not _same(old.get(key), new.get(key)):
                print(f'{file}: {key}: {old.get(key)!r} before, {new.get(key)!r} after')
                differing += 1
    print(f'{differing} differences in {len(files)} files')
    return min(differing, 1)


def _is_result(path: Path) -> bool:
    return path.suffix in ('.json', '.csv') and path.is_file()


def _values(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield the values of a JSON or CSV file, by dotted key."""
    if path.suffix == '.csv':
        with path.open(newline='') as file:
            yield from _flat(list(csv.DictReader(file)))
    else:
        yield from _flat(json.loads(path.read_text()))


def _flat(value: Any, prefix: str = '') -> Iterator[tuple[str, Any]]:
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if parts is None:
        yield prefix, value
        return
    for key, part in parts:
        yield from _flat(part, f'{prefix}.{key}' if prefix else str(key))


def _same(old: Any, new: Any) -> bool:
    """Tell whether two values are equal to the last bit; two nan are."""
    both_nan = isinstance(old, float) and isinstance(new, float) and math.isnan(old) and math.isnan(new)
    return both_nan or (type(old) is type(new) and old == new)


if __name__ == '__main__':
    main()
