"""What A and B follow, and how true the second-order products behind them are.

    python tests/benchmarks/second_order.py terms       # shares of |dA| and |dB| by term, cosine of each product
    python tests/benchmarks/second_order.py radii       # finite differences by space, width and radius
    python tests/benchmarks/second_order.py batches     # one batch against the mean of many
    python tests/benchmarks/second_order.py table       # the tables of docs/second-order.md from the records

Digits of 16 pixels, batches of 25, cells of few channels, so that two cores measure everything in an hour. Records are
JSON files in tests/benchmarks/recorded/second_order, one a search; what is there is not measured again.

``terms``: each preset with its own numbers, on three spaces, and ``wcnas`` with each kind of tester and on several
bases, at the first update from the 1st, the 10th and the 100th batch on. A term's share is its length in that of the
whole; terms may cancel. Schedules are one stage without warm-up.

``radii``: each product of ``wcnas`` (A's through W, B's through G, the images' through V) by finite differences of
several radii against the exact one: its cosine, and its length as a multiple.

``batches``: dA's term through W, at one point of the search, by each of 16 pairs of batches against the mean of the
other 15 exact ones. What one batch can know at best is the cosine of the exact product of one batch.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
import warnings
from dataclasses import replace
from pathlib import Path
from statistics import median

import torch
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.hub.pytorch import ProxylessNAS
from nni.nas.space import RawFormatModelSpace
from records import commit
from torch.nn.functional import cosine_similarity

sys.path.insert(0, str(Path(__file__).parents[1]))
from gradient_terms import DirectOnly, Probed, flat, products, terms, unchanged  # noqa: E402

import nni_wcnas as wc  # noqa: E402
from nni_wcnas.contracts import Batch  # noqa: E402
from nni_wcnas.presets import PRESETS  # noqa: E402
from nni_wcnas.tester import pretrain  # noqa: E402

OUT = Path(__file__).parent / 'recorded' / 'second_order'
AT = (0, 9, 99)
RADII = (0.001, 0.01, 0.1, 1.0)
FEW = ('none', 'max_pool_3x3', 'skip_connect', 'sep_conv_3x3', 'dil_conv_3x3')
SPACES = {
    'darts': lambda width, **operations: wc.spaces.DARTS(width=width, num_cells=3, **operations),
    'nasbench201': lambda width: wc.spaces.NASBench201(width=width, num_cells=1),
    'proxylessnas': lambda width: ProxylessNAS(base_widths=(width,) * 9, num_labels=10),
}
SMALL = {'image_size': 16, 'width': 16, 'latent': 32}
TESTERS = {
    'augmentation_policy': lambda file: wc.AugmentationPolicy(10, image_size=16),
    'fq_gan': lambda file: wc.FQGAN(10, dictionary_size=64, pretrained=file, **SMALL),
    'sn_gan': lambda file: wc.SNGAN(10, pretrained=file, **SMALL),
    'big_gan': lambda file: wc.BigGAN(10, pretrained=file, **SMALL),
    'contra_gan': lambda file: wc.ContraGAN(10, pretrained=file, **SMALL),
    'style_gan2_ada': lambda file: wc.StyleGAN2ADA(10, pretrained=file, **SMALL),
    'corruptions': lambda file: wc.Corruptions(10, image_size=16),
    'perturbation': lambda file: wc.Perturbation(10, image_size=16),
}
BASES = ('darts_minus', 'pc_darts', 'pr_darts', 'gdas', 'drnas')
"""Of ``wcnas``, beside ``darts``: those under which dA is small, or W's rate large."""
WIDTH = {'drnas_progressive': 12, 'pc_darts': 8, 'sanas': 8}
"""Channels that the shares of a preset divide; 4 elsewhere."""
PRETRAINING = {'steps': 300, 'lr': 1e-3, 'discriminator_steps': 2}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('part', choices=['terms', 'radii', 'batches', 'table'])
    parser.add_argument('--threads', type=int, default=1)
    parser.add_argument('--spaces', nargs='+', choices=SPACES, default=list(SPACES), help='leave the others out')
    parser.add_argument('--out', type=Path, default=OUT)
    options = parser.parse_args()
    warnings.filterwarnings('ignore')
    logging.disable(logging.WARNING)
    torch.set_num_threads(options.threads)
    for space in set(SPACES) - set(options.spaces):
        del SPACES[space]
    {'terms': all_terms, 'radii': all_radii, 'batches': all_batches, 'table': print_tables}[options.part](options.out)


# ---------------------------------------- searches


def watched(strategy, space, at, measure, *, tester=None, auxiliary=None, epochs=11, limit=500):
    """Search digits at the preset's rates; what was measured, by number of the batch.

    ``space`` is built here, so that all searches in it begin with the same weights.
    """
    torch.manual_seed(0)
    made = space()
    strategy.schedule = wc.SingleStage()
    data = wc.data.Digits(batch_size=25, limit=limit)
    numbers = {} if strategy.recipe is None else {**strategy.recipe.evaluator, 'max_epochs': epochs}
    judge = numbers.pop('auxiliary', {}) | ({} if auxiliary is None else {'name': auxiliary})
    if tester is not None and tester.has_hyperparameters and strategy.objective.needs_auxiliary:
        numbers['auxiliary'] = judge
    evaluator = wc.SearchEvaluator(data, tester=tester, **numbers, limit_val_batches=0, enable_progress_bar=False,
                                   accelerator='cpu')
    probe = strategy.objective = Probed(strategy.objective, at, measure)
    stop = max(at)

    def architecture_step(step, inner=probe.architecture_step):
        update = inner(step)
        if probe._batches >= stop:
            evaluator.trainer.should_stop = True
        return update

    probe.architecture_step = architecture_step
    strategy(RawFormatModelSpace.from_model(made, evaluator), SequentialExecutionEngine())
    return probe.found


def pretrained(name):
    """A tester that has played before, as the paper's have; those that change real images have nothing to play."""
    if name in ('augmentation_policy', 'corruptions', 'perturbation'):
        return TESTERS[name](None)
    file = Path(tempfile.gettempdir()) / 'nni_wcnas_second_order' / f'{name}.pt'
    if not file.exists():
        torch.manual_seed(0)
        data = wc.data.Digits(batch_size=25, limit=500)

        def batches(epoch):
            data.set_epoch(epoch)
            return data.train_dataloader()

        partial = file.with_suffix('.partial.pt')
        tester = TESTERS[name](None)
        pretrain(tester, None, batches, progress=False, checkpoint=partial, **PRETRAINING)
        partial.replace(file)
    return TESTERS[name](file)


def kept(out, name, make):
    """Write a record, unless it is there."""
    path = out / f'{name}.json'
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        found = make()
    except ValueError as error:  # Members that act on cells, in a space without any.
        found = {'refused': str(error)}
    path.write_text(json.dumps({'commit': commit(), 'torch': torch.__version__, 'found': found}, indent=1) + '\n')
    print(name, json.dumps(found), flush=True)


# ---------------------------------------- what is measured


def all_terms(out):
    def measure(objective, step):
        return {'terms': terms(objective, step), 'products': products(objective, step)}

    def record(space, preset, tester, name, **options):
        few = {'operations': FEW} if space == 'darts' else {}

        def search():
            strategy = PRESETS[preset](**options)
            width = WIDTH.get(options.get('base', preset), 4)
            return watched(strategy, lambda: SPACES[space](width, **few), AT, measure,
                           tester=tester and pretrained(tester))

        kept(out, f'terms/{space}/{name}', search)

    for space in SPACES:
        for tester in TESTERS:
            record(space, 'wcnas', tester, f'wcnas {tester}')
        for preset in PRESETS:
            if preset != 'wcnas':
                record(space, preset, 'fq_gan' if preset in ('dasgm', 'cr', 'ncr') else None, preset)
        for base in BASES:
            record(space, 'wcnas', 'augmentation_policy', f'wcnas on {base}', base=base)


def all_radii(out):
    others = {f'{radius:g}': ('finite_difference', radius) for radius in RADII}

    def record(space, width, tester, auxiliary):
        kept(out, f'radii/{space}/{width} {tester} {auxiliary}', lambda: watched(
            PRESETS['wcnas'](every=1), lambda: SPACES[space](width), (0, 30),
            lambda objective, step: products(objective, step, others), tester=pretrained(tester), auxiliary=auxiliary))

    for space in SPACES:
        for width in (8, 16) if space != 'proxylessnas' else (8,):
            record(space, width, 'augmentation_policy', 'test_resnet')
            record(space, width, 'fq_gan', 'tied')


def all_batches(out):
    def record(space):
        kept(out, f'batches/{space}', lambda: watched(
            wc.presets.darts_2nd(), lambda: SPACES[space](8), (60,), many_batches, epochs=5, limit=1400))

    for space in SPACES:
        record(space)


def many_batches(objective, step, count=16):
    """Cosines with the mean of the exact terms of the other pairs of batches."""
    data = wc.data.Digits(batch_size=25, limit=1400, seed=99)
    pairs = []
    for epoch in range(100):
        data.set_epoch(epoch)
        pairs += list(zip(data.train_dataloader(), data.val_dataloader()))
        if len(pairs) >= count:
            break

    def term(train, val, hypergradient):
        changed = replace(step, train=Batch(*train), val=Batch(*val), hypergradient=hypergradient)
        with unchanged(step):
            whole = objective.architecture_step(changed)
        direct = DirectOnly(hypergradient.by, hypergradient.radius)
        with unchanged(step):
            alone = objective.architecture_step(replace(changed, hypergradient=direct))
        return flat(whole.alphas) - flat(alone.alphas), flat(alone.alphas)

    ways = {'exact': wc.Unrolled()} | {f'{r:g}': wc.Unrolled('finite_difference', r) for r in RADII[1:3]}
    found = {name: [term(*pair, way) for pair in pairs[:count]] for name, way in ways.items()}
    exact = torch.stack([indirect for indirect, _ in found['exact']])
    direct = torch.stack([alone for _, alone in found['exact']])

    def against_others(terms, truth):
        means = (truth.sum(0) - truth) / (len(truth) - 1)
        return median(cosine_similarity(terms, means, 1).tolist())

    measured = {
        name: {'cosine': against_others(torch.stack([indirect for indirect, _ in terms]), exact),
               'length': median((torch.stack([i for i, _ in terms]).norm(dim=1) / exact.norm(dim=1)).tolist())}
        for name, terms in found.items()
    }
    measured['direct'] = {'cosine': against_others(direct, direct)}
    measured['share'] = float((exact.norm(dim=1) / (exact + direct).norm(dim=1)).median())
    return measured


# ---------------------------------------- tables


def print_tables(out):
    _print_terms(out)
    _print_radii(out)
    _print_batches(out)


def _records(out, part):
    for path in sorted((out / part).glob('*/*.json' if part != 'batches' else '*.json')):
        found = json.loads(path.read_text())['found']
        if 'refused' not in found:
            yield path, found


def _cell(cosine, length):
    return f'{cosine:.2f} ({length:.1f})'


def _print_terms(out):
    print('| space | method | abs. dA; shares: generated, real, R, through W | abs. dB; shares: generated, meaning '
          '| lowest cosine |\n|---|---|---|---|---|')
    for path, found in _records(out, 'terms'):
        a, b = [], []
        for measured in found.values():
            share = measured['terms']['A']
            a.append(f'{share["norm"]:.2g}; ' + ', '.join(
                f'{share[name]:.2f}' if name in share else '-' for name in ('generated', 'real', 'decov', 'through W')))
            share = measured['terms'].get('B')
            if share:
                b.append(f'{share["norm"]:.1e}; {share.get("generated", 0):.2f}, {share.get("meaning", 0):.1e}')
        cosines = [p['own']['cosine'] for m in found.values() for p in m['products'].values()]
        lowest = f'{min(cosines):.4f}' if cosines else 'none'
        print(f'| {path.parent.name} | {path.stem} | {"<br>".join(a)} | {"<br>".join(b)} | {lowest} |')


def _print_radii(out):
    names = [f'{radius:g}' for radius in RADII]
    print(f'\n| space, width, tester | product | {" | ".join(names)} |\n|---|---|{"---|" * len(names)}')
    for path, record in _records(out, 'radii'):
        for product in ('W', 'G', 'V'):
            measured = [m[product] for m in record.values() if product in m]
            if measured:
                cells = [_cell(*(median(m[n][key] for m in measured) for key in ('cosine', 'length'))) for n in names]
                print(f'| {path.parent.name}, {path.stem} | {product} | {" | ".join(cells)} |')


def _print_batches(out):
    names = ['exact', *(f'{radius:g}' for radius in RADII[1:3])]
    print(f'\n| space, batch | direct | share | {" | ".join(names)} |\n|---|---|---|{"---|" * len(names)}')
    for path, found in _records(out, 'batches'):
        for number, m in found.items():
            cells = [_cell(m[n]['cosine'], m[n]['length']) for n in names]
            print(f'| {path.stem}, {int(number) + 1} | {m["direct"]["cosine"]:.2f} | {m["share"]:.2f} | '
                  f'{" | ".join(cells)} |')


if __name__ == '__main__':
    main()
