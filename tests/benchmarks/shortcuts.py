"""Which view does a search take where a cue gives the label away, and what is its network worth where the cue misleads?

    python tests/benchmarks/shortcuts.py search                  # every method, four cues, seeds 0 to 9
    python tests/benchmarks/shortcuts.py search --seeds 100 101  # to tune on; those that are reported stay unseen
    python tests/benchmarks/shortcuts.py table                   # the tables of docs/shortcuts.md from the records

Digits whose training images carry a cue that agrees with the label in 95 % of cases and whose test images carry one by
chance (:mod:`nni_wcnas.data.shortcut`); a plain network whose only choice is what it sees of an image, all or a view
that cannot see the cue (:class:`~nni_wcnas.spaces.ViewNetwork`). The right choice is known: the blind one. What is
taken is retrained plainly from a seed of its own, and judged by its error on the test images whose cue contradicts.

Every method has the numbers of the first lines below: those of DARTS but for few epochs, and A and B learn faster, as
there are some hundred steps. In the worst case A descends the loss on generated images alone (gamma 0), and the policy
has the operations that leave an image readable, unless the name says otherwise. An auxiliary model and a GAN are
trained before, once a cue. A record a search; what is there is not made again. Seconds are those of one processor.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import records
import torch
from tqdm import tqdm

import nni_wcnas as wc
from nni_wcnas.compare.verdict import compare_measures
from nni_wcnas.contracts import Tester
from nni_wcnas.data.shortcut import groups
from nni_wcnas.measure.measures import measure_predictions
from nni_wcnas.measure.predictions import predict
from nni_wcnas.retrain.retraining import retrain
from nni_wcnas.tester import make_auxiliary, pretrain

OUT = Path(__file__).parent / 'recorded' / 'shortcuts'
BLIND = {'colour': 'luminance', 'dot': 'cropped', 'brightness': 'normalised', 'noise': 'blurred'}
BATCH, EPOCHS, WARMUP, EVERY = 32, 12, 1, 1
ARC_LEARNING_RATE, HYPERPARAMETER_LR = 0.05, 0.02
PRETRAINING = 300
"""Steps."""
AUXILIARY, WIDTH = 'small_resnet', 4
RETRAINING = {'epochs': 12, 'lr': 0.05, 'auxiliary_weight': 0.0, 'drop_path': 0.0, 'gradient_clip_val': 5.0}
GAN = {'image_size': 16, 'width': 16, 'latent': 32, 'dictionary_size': 64}

Make = Callable[[str, Path], tuple[wc.Search, dict[str, Any]]]
"""From the name of the cue and a folder for pre-trained files to a strategy and the evaluator's adversary."""


def _plain(preset: str, **options: Any) -> Make:
    return lambda cue, folder: (wc.presets.PRESETS[preset](**options), {})


def _worst_case(tester: str, trade_off: float = 0.0, preset: str = 'wcnas', **options: Any) -> Make:
    """A method with a tester; the auxiliary model, where there is one, and a GAN are pre-trained."""

    def make(cue: str, folder: Path) -> tuple[wc.Search, dict[str, Any]]:
        own = dict(options)
        if preset == 'wcnas':
            own = {'every': EVERY, 'average_weight': 0.0, **own}
            if tester != 'perturbation':  # Which has no B.
                own |= {'hyperparameter_lr': HYPERPARAMETER_LR, 'trade_off': trade_off}
        strategy = wc.presets.PRESETS[preset](**own)
        needs = strategy.objective.needs_auxiliary and tester != 'perturbation'
        return strategy, _adversary(tester, cue, folder, needs_auxiliary=needs)

    return make


METHODS: dict[str, Make] = {
    'darts': _plain('darts'),
    'darts_2nd': _plain('darts_2nd'),
    'spcl': _plain('spcl'),
    'dihcl': _plain('dihcl'),
    'cvar': _plain('darts_2nd', objective=wc.ConditionalValueAtRisk()),
    'group dro': _plain('darts_2nd', objective=wc.GroupWorstCase()),
    'wcnas, lambda 0': _worst_case('policy'),
    'wcnas, lambda 0.1': _worst_case('policy', 0.1),
    'wcnas, lambda 1': _worst_case('policy', 1.0),
    'wcnas, lambda 0, gamma 1': _worst_case('policy', average_weight=1.0),
    'wcnas, lambda 0, dada': _worst_case('dada'),
    'wcnas, corruptions': _worst_case('corruptions'),
    'wcnas, perturbation': _worst_case('perturbation'),
    'wcnas, fq_gan': _worst_case('fq_gan', 1.0),
    'dasgm': _worst_case('fq_gan', preset='dasgm'),
    'sanas': _plain('sanas', base='darts'),
}
"""In the order of the tables."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('part', choices=('search', 'table'))
    parser.add_argument('--out', type=Path, default=OUT, help='folder of the records')
    parser.add_argument('--methods', nargs='+', default=list(METHODS), choices=METHODS)
    parser.add_argument('--cues', nargs='+', default=list(BLIND), choices=BLIND)
    parser.add_argument('--seeds', type=int, nargs='+', default=range(10))
    options = parser.parse_args()
    torch.set_num_threads(1)
    (search_all if options.part == 'search' else print_tables)(options)


# ---------------------------------------- searches


def search_all(options: argparse.Namespace) -> None:
    """Seed by seed, so that what is there so far is fair."""
    jobs = [(seed, cue, method) for seed in options.seeds for cue in options.cues for method in options.methods]
    for seed, cue, method in tqdm(jobs):
        settings = {
            'method': method, 'cue': cue, 'seed': seed, 'epochs': EPOCHS, 'warmup': WARMUP, 'batch_size': BATCH,
            'arc_learning_rate': ARC_LEARNING_RATE, 'hyperparameter_lr': HYPERPARAMETER_LR, 'every': EVERY,
            'auxiliary': AUXILIARY, 'auxiliary_width': WIDTH, 'pretraining': PRETRAINING,
        }
        record = records.recorded(
            _path(options.out, method, cue, seed), settings,
            lambda method=method, cue=cue, seed=seed: find(method, cue, seed, options.out),
        )
        view = record['view']
        records.recorded(
            _retrained(options.out, cue, view, seed), {'cue': cue, 'view': view, 'seed': seed, **RETRAINING},
            lambda cue=cue, view=view, seed=seed: judge(cue, view, seed),
        )


def find(method: str, cue: str, seed: int, out: Path) -> dict[str, Any]:
    """The view that a method takes, and the share that its relaxation gives to the blind one."""
    records.prepare(seed)
    strategy, adversary = METHODS[method](cue, out / 'pretrained')
    strategy.arc_learning_rate = ARC_LEARNING_RATE
    strategy.schedule = wc.SingleStage(warmup=WARMUP)
    records.prepare(seed)  # Whatever was pre-trained before, or read.
    evaluator = wc.SearchEvaluator(
        _data(cue, seed), max_epochs=EPOCHS, limit_val_batches=0, enable_progress_bar=False, accelerator='cpu',
        devices=1, **adversary,
    )
    space = wc.spaces.ViewNetwork(views=('raw', BLIND[cue]))
    sample = records.search(strategy, space, evaluator)
    (alpha,) = strategy.oneshot_module.architecture().values()
    return {'view': sample['view'], 'blind_share': float(alpha.detach().softmax(-1).flatten()[-1])}


def judge(cue: str, view: str, seed: int) -> dict[str, Any]:
    """Errors of a network of one view, trained plainly: all test images, and by what the cue says."""
    records.prepare(seed)
    data = _data(cue, seed)
    network = wc.spaces.ViewNetwork(views=('raw', BLIND[cue])).freeze({'view': view})
    trained = retrain(network, data, accelerator='cpu', progress=False, seed=seed, **RETRAINING)
    predictions, _ = predict(trained.network, data, 'test')
    measures = measure_predictions(predictions, None, 0.1, groups(data.images))
    return {name: measures[name] for name in ('error', 'error_group_0', 'error_group_1')}


def _data(cue: str, seed: int) -> wc.data.Digits:
    return wc.data.Digits(batch_size=BATCH, seed=seed, augment=False, shortcut=cue)


def _adversary(kind: str, cue: str, folder: Path, *, needs_auxiliary: bool) -> dict[str, Any]:
    """A tester with its auxiliary model, pre-trained on the images with the cue."""
    testers: dict[str, Callable[..., Tester]] = {
        'policy': lambda **file: wc.AugmentationPolicy(10, image_size=16, operations='gentle', **file),
        'dada': lambda **file: wc.AugmentationPolicy(10, image_size=16, operations='dada', **file),
        'corruptions': lambda **file: wc.Corruptions(10, image_size=16, **file),
        'perturbation': lambda **file: wc.Perturbation(10, image_size=16),
        'fq_gan': lambda **file: wc.FQGAN(10, **GAN, **file),
    }
    if kind == 'perturbation' or not (needs_auxiliary or kind == 'fq_gan'):
        return {'tester': testers[kind]()}
    auxiliary: Any = 'tied' if kind == 'fq_gan' else {'name': AUXILIARY, 'width': WIDTH}
    file = folder / f'{kind}-{cue}.pt'
    if not file.exists():
        records.prepare(0)
        tester, data = testers[kind](), _data(cue, 0)

        def batches(epoch: int) -> Any:
            data.set_epoch(epoch)
            return data.train_dataloader()

        file.parent.mkdir(parents=True, exist_ok=True)
        lengths = {'auxiliary_steps': PRETRAINING}
        if kind == 'fq_gan':
            lengths |= {'steps': 3 * PRETRAINING, 'lr': 1e-3, 'discriminator_steps': 2}
        pretrain(tester, make_auxiliary(auxiliary, tester), batches, checkpoint=file, progress=False, **lengths)
    return {'tester': testers[kind](pretrained=file), 'auxiliary': auxiliary}


def _path(out: Path, method: str, cue: str, seed: int) -> Path:
    return out / cue / f'{method.replace(", ", "_").replace(" ", "_")}-{seed}.json'


def _retrained(out: Path, cue: str, view: str, seed: int) -> Path:
    return out / cue / f'retrained-{view}-{seed}.json'


# ---------------------------------------- tables


def print_tables(options: argparse.Namespace) -> None:
    """Of the records that are there: how often the blind view was taken; errors with the verdict's tests; seconds."""
    found = {cue: dict(_found(options, cue)) for cue in options.cues}
    compared = compare_measures(
        {cue: {m: _errors(options, cue, rows) for m, rows in methods.items()} for cue, methods in found.items()
         if len(methods) > 1},
        baseline='darts',
    )
    header = ['method', *(f'{cue}: blind, worst group %, all %, p' for cue in found), 'seconds']
    rows = []
    for method in options.methods:
        known = [rows[method] for rows in found.values() if method in rows]
        if known:
            cells = [_cell(options, cue, found[cue].get(method), compared.get(cue), method) for cue in found]
            seconds = fmean(record['processor_seconds'] for rows_ in known for record in rows_.values())
            rows.append([f'`{method}`', *cells, f'{seconds:.0f}'])
    print(records.table(header, rows))


def _found(options: argparse.Namespace, cue: str) -> Iterator[tuple[str, dict[int, dict[str, Any]]]]:
    """Records of one cue by method and seed."""
    for method in options.methods:
        paths = {seed: _path(options.out, method, cue, seed) for seed in options.seeds}
        rows = {seed: json.loads(path.read_text()) for seed, path in paths.items() if path.exists()}
        if rows:
            yield method, rows


def _errors(
    options: argparse.Namespace, cue: str, rows: dict[int, dict[str, Any]], measure: str = 'error_group_1'
) -> dict[int, float]:
    """Of the retrained networks by seed: where the cue contradicts, unless told otherwise."""
    paths = {seed: _retrained(options.out, cue, record['view'], seed) for seed, record in rows.items()}
    return {seed: json.loads(path.read_text())[measure] for seed, path in paths.items()}


def _cell(options: argparse.Namespace, cue: str, rows: Any, comparison: Any, method: str) -> str:
    if not rows:
        return ''
    blind = sum(record['view'] == BLIND[cue] for record in rows.values())
    worst, every = (_mean(_errors(options, cue, rows, name)) for name in ('error_group_1', 'error'))
    tested = [row for row in comparison.rows if row.method == method] if comparison else []
    p = '' if not tested or tested[0].p_adjusted is None else f', {tested[0].p_adjusted:.1g}'
    return f'{blind} of {len(rows)}, {worst}, {every}{p}'


def _mean(values: dict[int, float] | Sequence[float]) -> str:
    numbers = list(values.values()) if isinstance(values, dict) else list(values)
    return f'{100 * fmean(numbers):.1f}'


if __name__ == '__main__':
    main()
