"""Records of benchmark searches: one JSON file each, with seed, commit and settings; what is there is not run again."""

from __future__ import annotations

import json
import logging
import platform
import subprocess
import time
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import nni
import torch
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.space import RawFormatModelSpace
from pytorch_lightning import seed_everything

import nni_wcnas as wc

ROOT = Path(__file__).parents[2]


def recorded(path: Path, settings: dict[str, Any], find: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The record of a search: read if it is there, else made and written.

    Raises
    ------
    SystemExit
        When the file was made with other settings.
    """
    if path.exists():
        record = json.loads(path.read_text())
        if record['settings'] != settings:
            raise SystemExit(f'{path} was made with other settings; give another --out, or delete it')
        return record
    start, used = time.perf_counter(), time.process_time()
    found = find()
    record = {
        **found,
        'seconds': round(time.perf_counter() - start, 1),
        'processor_seconds': round(time.process_time() - used, 1),
        'settings': settings,
        'commit': commit(),
        'machine': f'{processor()}, {torch.get_num_threads()} threads',
        'versions': {'python': platform.python_version(), 'torch': torch.__version__, 'nni': nni.__version__},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=2) + '\n')
    return record


def search(strategy: wc.Search, space: Any, evaluator: Any) -> dict[str, Any]:
    """The sample that a search finds."""
    strategy(RawFormatModelSpace.from_model(space, evaluator), SequentialExecutionEngine())
    return dict(next(strategy.list_models()).sample)


def prepare(seed: int) -> None:
    """Seed everything; say nothing."""
    warnings.filterwarnings('ignore')
    for name in ('nni', 'pytorch_lightning', 'pytorch_lightning.utilities.rank_zero'):
        logging.getLogger(name).setLevel(logging.ERROR)
    seed_everything(seed, verbose=False)


def commit() -> str:
    """Of the checkout, with a mark where files were changed."""
    words = ['git', '-C', str(ROOT), 'describe', '--always', '--dirty', '--abbrev=12', '--exclude=*']
    return subprocess.run(words, capture_output=True, text=True, check=False).stdout.strip()


def processor() -> str:
    """Its name."""
    path = Path('/proc/cpuinfo')
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.split(':')[1].strip() for line in lines if line.startswith('model name')]
    return names[0] if names else platform.processor() or platform.machine()


def table(header: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    """Markdown."""
    header = list(header)
    lines = [header, ['---'] * len(header), *(list(map(str, row)) for row in rows)]
    return '\n'.join('| ' + ' | '.join(line) + ' |' for line in lines)
