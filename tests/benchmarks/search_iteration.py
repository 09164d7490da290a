"""Seconds and peak memory of one search iteration, and passes through the supernet, against NNI's own strategy.

    python tests/benchmarks/search_iteration.py    # DARTS space, 16 channels, 8 cells, CIFAR shape, batch 16
    python tests/benchmarks/search_iteration.py --batch-size 4 --threads 1 --json record.json --check
    python tests/benchmarks/search_iteration.py --sweep    # how the cost grows with batch, width, depth, operations
    python tests/benchmarks/search_iteration.py --methods --batches 4    # what the fast cell does for each base method

All contenders train at the same time in one process and take turns, a batch each, so that a noisy machine disturbs all
alike. An iteration is one training batch with all that belongs to it (architecture, weights, adversary). Ratios are
medians over the rounds; ``wcnas`` is compared over whole cycles of 8 batches. Peak memory is that of a process of its
own, above the import of torch, or on a GPU what torch allocated there; there the images are held on the GPU as
well. ``plain`` is ``darts`` without the fast cell, ``differences`` are second-order products by finite differences,
where the others are exact.
"""

from __future__ import annotations

import argparse
import json
import logging
import platform
import statistics
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import nni
import nni.nas.strategy as nni_strategy
import torch
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.hub.pytorch import DARTS as HubDARTS
from nni.nas.hub.pytorch import ProxylessNAS
from nni.nas.space import RawFormatModelSpace
from pytorch_lightning.callbacks import Callback

import nni_wcnas as wc
from nni_wcnas.data import ImageData, ImageSet, TensorStore
from nni_wcnas.spaces.operations import PRIMITIVES

CONTENDERS = {
    'nni': lambda: nni_strategy.DARTS(gradient_clip_val=5.0),
    'plain': lambda: wc.presets.darts(fast_cell=False),
    'darts': wc.presets.darts,
    'darts_2nd': wc.presets.darts_2nd,
    'gdas': wc.presets.gdas,
    'wcnas': wc.presets.wcnas,
    'darts_2nd/differences': lambda: wc.presets.darts_2nd(hypergradient=wc.Unrolled(by='finite_difference')),
    'wcnas/differences': lambda: wc.presets.wcnas(hypergradient=wc.Unrolled(by='finite_difference')),
}
for _name, _preset in wc.presets.BASES.items():
    CONTENDERS[f'{_name}/fast'] = lambda preset=_preset: preset(schedule=wc.SingleStage())
    CONTENDERS[f'{_name}/plain'] = lambda preset=_preset: preset(schedule=wc.SingleStage(), fast_cell=False)
ADVERSARIES: dict[str, Callable[[], dict[str, Any]]] = {
    name: lambda: {'tester': wc.FQGAN(10)} for name in ('wcnas', 'wcnas/differences')
}
"""Arguments of the evaluator by contender."""
DEFAULT = ('nni', 'plain', 'darts', 'gdas', 'darts_2nd', 'darts_2nd/differences', 'wcnas', 'wcnas/differences')

SPACES: dict[str, Callable[[argparse.Namespace], Any]] = {
    'hub_darts': lambda options: HubDARTS(width=options.width, num_cells=options.cells, dataset='cifar'),
    'darts': lambda options: wc.spaces.DARTS(
        width=options.width, num_cells=options.cells, operations=PRIMITIVES[-(options.operations or 8) :]
    ),
    'nasbench201': lambda options: wc.spaces.NASBench201(width=options.width, num_cells=options.cells),
    'proxylessnas': lambda options: ProxylessNAS(num_labels=10),
}

LIMITS = {
    ('darts', 'nni'): 0.4,
    ('gdas', 'darts'): 0.3,
    ('darts_2nd', 'nni'): 1.0,
    ('darts_2nd', 'darts_2nd/differences'): 1.1,
    ('wcnas', 'nni'): 0.5,
    ('wcnas', 'wcnas/differences'): 1.1,
}
"""Seconds of the one to those of the other, at most."""
MEMORY_LIMITS = {('darts', 'nni'): 0.7, ('wcnas', 'nni'): 1.0}
"""Peak memory of the one to that of the other, at most."""
PASSES = {'wcnas': 1.5}
"""Forward passes through the supernet a batch, at most."""


class Turns(Callback):
    """Let a contender train one batch when it is its turn; time it and count passes through its supernet."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.mine, self.theirs = threading.Semaphore(0), threading.Semaphore(0)
        self.seconds: list[float] = []
        self.passes = 0

    def on_train_start(self, trainer, module) -> None:
        module.training_module.model.register_forward_pre_hook(self._count)

    def _count(self, module, inputs) -> None:
        self.passes += 1

    def on_train_batch_start(self, trainer, module, batch, batch_idx) -> None:
        self.mine.acquire()
        self.start = time.perf_counter()

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx) -> None:
        if module.device.type == 'cuda':
            torch.cuda.synchronize()
        self.seconds.append(time.perf_counter() - self.start)
        self.theirs.release()


def run(name: str, options: argparse.Namespace, turns: Turns) -> None:
    """Train one contender on random images of CIFAR's shape."""
    torch.manual_seed(0)
    count = max(40, options.batch_size * options.batches * 2)  # every class in both halves
    store = TensorStore(torch.randint(256, (count, 3, 32, 32), dtype=torch.uint8), torch.arange(count) % 10)
    images = ImageSet('noise', tuple('0123456789'), 32, (0.5,) * 3, (0.25,) * 3, store, store)
    evaluator = wc.SearchEvaluator(
        ImageData(images, batch_size=options.batch_size, device=options.device),
        **ADVERSARIES.get(name, dict)(),
        max_epochs=1,
        limit_train_batches=options.batches,
        callbacks=[turns],
        limit_val_batches=0,
        enable_progress_bar=False,
        accelerator=options.device,
        devices=1,
        precision=options.precision,
    )
    space = SPACES[options.space](options)
    CONTENDERS[name]()(RawFormatModelSpace.from_model(space, evaluator), SequentialExecutionEngine())


def interleaved(options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Seconds a batch and passes a batch of every contender."""
    all_turns = {name: Turns(name) for name in options.contenders}
    threads = [
        threading.Thread(target=run, args=(name, options, turns), daemon=True) for name, turns in all_turns.items()
    ]
    for thread in threads:
        thread.start()
        time.sleep(2)  # one after the other: they share torch's random state while they are built
    for number in range(options.batches):
        for name, turns in all_turns.items():
            turns.mine.release()
            turns.theirs.acquire()
            print(f'batch {number + 1}/{options.batches} {name}: {turns.seconds[-1]:.2f} s', file=sys.stderr)
    for thread in threads:
        thread.join()
    return {name: _summary(turns, all_turns, options) for name, turns in all_turns.items()}


def _summary(turns: Turns, all_turns: dict[str, Turns], options: argparse.Namespace) -> dict[str, Any]:
    """Seconds a batch, ratios to the others, passes a batch; of more than 8 batches the first 8 are warm-up."""
    warm = 8 if options.batches > 8 else 0
    own = turns.seconds[warm:]
    ratios = {}
    for other, their in all_turns.items():
        rounds = list(zip(own, their.seconds[warm:]))
        # Batches of wcnas differ by design: whole cycles are compared. The others are compared round by round.
        whole = sum(mine for mine, _ in rounds) / sum(theirs for _, theirs in rounds)
        by_round = statistics.median(mine / theirs for mine, theirs in rounds)
        ratios[other] = whole if ADVERSARIES.keys() & {other, turns.name} else by_round
    seconds = statistics.mean(own) if turns.name in ADVERSARIES else statistics.median(own)
    return {'seconds': seconds, 'ratios': ratios, 'passes': turns.passes / options.batches}


def peak_memory(name: str, options: argparse.Namespace) -> float:
    """MB of a process that trains one contender for one batch, above the import of torch."""
    arguments = [
        sys.executable,
        __file__,
        '--only',
        name,
        *(
            f'--{key}={getattr(options, key.replace("-", "_"))}'
            for key in ('space', 'width', 'cells', 'batch-size', 'threads', 'device', 'precision')
        ),
        *(['--operations', str(options.operations)] if options.operations else []),
    ]
    peak = float(_last_word(arguments))
    return peak if options.device == 'cuda' else peak - torch_alone()


@cache
def torch_alone() -> float:
    """MB of a process that only imports torch."""
    code = "import torch; print(next(l.split()[1] for l in open('/proc/self/status') if l.startswith('VmHWM')))"
    return float(_last_word([sys.executable, '-c', code])) / 1024


def _last_word(arguments: list[str]) -> str:
    return subprocess.run(arguments, capture_output=True, text=True, check=True).stdout.split()[-1]


def only(name: str, options: argparse.Namespace) -> None:
    """One batch in this process; print its peak memory in MB."""
    turns = Turns(name)
    options.batches = 1
    turns.mine.release()
    run(name, options, turns)
    on_gpu = options.device == 'cuda'
    print(torch.cuda.max_memory_allocated() / 2**20 if on_gpu else peak_resident() / 1024)


def peak_resident() -> int:
    """kB that this process held at most (getrusage would start from what its parent held)."""
    lines = Path('/proc/self/status').read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith('VmHWM'))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--width', type=int, default=16)
    parser.add_argument('--cells', type=int, default=8)
    parser.add_argument(
        '--operations', type=int, choices=range(1, 9), help="candidates of our own space instead of NNI's hub space"
    )
    parser.add_argument('--space', choices=SPACES, help='without it hub_darts, or darts with --operations')
    parser.add_argument('--sweep', action='store_true', help='vary one size at a time; nni and darts only')
    parser.add_argument('--batch-size', type=int, default=16)
    parser.add_argument(
        '--batches', type=int, default=24, help='a multiple of 8; of more than 8 the first 8 are warm-up'
    )
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--device', choices=['cpu', 'cuda'], default='cpu')
    parser.add_argument('--precision', choices=['32-true', 'bf16-mixed'], default='32-true', help='of all contenders')
    parser.add_argument('--contenders', nargs='+', choices=CONTENDERS, default=DEFAULT, metavar='NAME')
    parser.add_argument('--check', action='store_true', help='exit with 1 when a limit of LIMITS is passed')
    parser.add_argument('--no-memory', action='store_true')
    parser.add_argument('--json', help='write the record there')
    parser.add_argument('--methods', action='store_true', help='the fast cell against the plain one, by base method')
    parser.add_argument('--only', choices=CONTENDERS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.space = options.space or ('darts' if options.operations else 'hub_darts')
    if (options.sweep or options.methods) and (options.check or options.json):
        parser.error('--check and --json belong to the comparison of the contenders; leave them out')
    return options


def main() -> None:
    options = parse()
    warnings.filterwarnings('ignore')
    for name in ('nni', 'pytorch_lightning'):
        logging.getLogger(name).setLevel(logging.ERROR)
    torch.set_num_threads(options.threads)
    if options.only:
        only(options.only, options)
        return
    if options.sweep or options.methods:
        print(f'{machine(options.device)}, {options.threads} threads, torch {torch.__version__}')
        (sweep if options.sweep else methods)(options)
        return
    record = {
        'machine': machine(options.device),
        'python': platform.python_version(),
        'torch': torch.__version__,
        'nni': nni.__version__,
        'options': {k: v for k, v in vars(options).items() if k not in ('only', 'json', 'check', 'sweep', 'methods')},
        'results': interleaved(options),
    }
    print(f'{record["machine"]}, {options.threads} threads, Python {record["python"]}, torch {record["torch"]}')
    for name, result in record['results'].items():
        if not options.no_memory:
            result['peak_mb'] = peak_memory(name, options)
        print(_line(name, result))
    if options.json:
        Path(options.json).write_text(json.dumps(record, indent=2) + '\n')
    if options.check:
        _check(record['results'])


def machine(device: str) -> str:
    """The processor, and the GPU if one is used."""
    lines = Path('/proc/cpuinfo').read_text().splitlines() if Path('/proc/cpuinfo').exists() else []
    names = [line.split(':')[1].strip() for line in lines if line.startswith('model name')]
    cpu = names[0] if names else platform.processor() or platform.machine()
    return f'{cpu}, {torch.cuda.get_device_name()}' if device == 'cuda' else cpu


SWEEP = {'batch_size': (2, 4, 8), 'width': (8, 16, 32), 'cells': (4, 8, 12), 'operations': (2, 4, 8)}
"""The middle ones are what the others are varied around, with 8 operations."""


def sweep(options: argparse.Namespace) -> None:
    """Seconds of an iteration when one size grows."""
    options.contenders, options.batches = ['nni', 'darts'], 3
    for name, values in SWEEP.items():
        for value in values:
            middle = {key: choices[1] for key, choices in SWEEP.items()} | {'operations': 8}
            vars(options).update(middle | {name: value}, space='darts')
            results = interleaved(options)
            seconds = '  '.join(f'{key} {result["seconds"]:.3f} s' for key, result in results.items())
            print(f'{name:10} {value:3}   {seconds}   ratio {results["darts"]["ratios"]["nni"]:.2f}', flush=True)


def methods(options: argparse.Namespace) -> None:
    """Seconds of an iteration by base method, of ``darts`` and of the plain cell, each with its first supernet.

    In our own space of 8 operations; 24 channels can be split in 4 and in 6.
    """
    options.space, options.operations, options.width = 'darts', 8, 24
    print('| method | seconds, of `darts` | of the plain cell |\n|---|---|---|')
    for name in wc.presets.BASES:
        options.contenders = list(dict.fromkeys(['darts/fast', f'{name}/fast', f'{name}/plain']))
        ratios = interleaved(options)[f'{name}/fast']['ratios']
        print(f'| `{name}` | {ratios["darts/fast"]:.2f} | {ratios[f"{name}/plain"]:.2f} |', flush=True)


def _check(results: dict[str, dict[str, Any]]) -> None:
    over = [
        f'{one} takes {results[one]["ratios"][other]:.2f} of {other}, more than {limit}'
        for (one, other), limit in LIMITS.items()
        if one in results and results[one]['ratios'].get(other, 0) > limit
    ]
    over += [
        f'{one} needs more than {limit} of the memory of {other}'
        for (one, other), limit in MEMORY_LIMITS.items()
        if all('peak_mb' in results.get(name, {}) for name in (one, other))
        and results[one]['peak_mb'] > limit * results[other]['peak_mb']
    ]
    over += [
        f'{name}: more than {limit} passes'
        for name, limit in PASSES.items()
        if name in results and results[name]['passes'] > limit
    ]
    if over:
        raise SystemExit('; '.join(over))


def _line(name: str, result: dict[str, Any]) -> str:
    shown = ('nni', 'plain', 'darts', f'{name}/differences')
    ratios = '  '.join(f'{ratio:.2f} of {other}' for other, ratio in result['ratios'].items() if other in shown)
    memory = f'  {result["peak_mb"]:.0f} MB' if 'peak_mb' in result else ''
    return f'{name:10} {result["seconds"]:8.3f} s  {ratios}  {result["passes"]:.3f} passes a batch{memory}'


if __name__ == '__main__':
    main()
