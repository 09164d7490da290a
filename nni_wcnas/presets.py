"""Named methods: one function a paper row, each a :class:`~nni_wcnas.strategy.Search` with the paper's numbers as
defaults.

Any argument of ``Search`` may be given to override a member or a number: ``darts(hypergradient=Unrolled())``.
``dataset`` says whose numbers to take, ``'other'`` are DARTS's for data that the papers have none for; what belongs to
the evaluator and the tester is in :mod:`nni_wcnas.recipes`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Literal

from nni_wcnas.contracts import Objective
from nni_wcnas.errors import InvalidArgument
from nni_wcnas.hypergradient import Unrolled
from nni_wcnas.objective import InstanceHardness, SaliencyAware, SelfPaced, SynthesizedValidation, WorstCase
from nni_wcnas.recipes import Recipe, recipe
from nni_wcnas.relaxation import Dirichlet, GumbelSoftmax, HardConcrete
from nni_wcnas.schedule import HessianEigenvalue, Progressive, Projected, SingleStage, SkipCount
from nni_wcnas.selection import MaxSkips, TopPairs
from nni_wcnas.smoothing import AdversarialSmoothing, RandomSmoothing
from nni_wcnas.strategy import Search
from nni_wcnas.transform import AuxiliarySkip, PartialChannels, SkipDropout

__all__ = [
    'BASES', 'PRESETS', 'darts', 'darts_2nd', 'darts_minus', 'darts_plus', 'darts_pt', 'dasgm', 'dihcl', 'drnas',
    'drnas_progressive', 'gdas', 'p_darts', 'pc_darts', 'pr_darts', 'r_darts', 'sanas', 'sdarts_adv', 'sdarts_rs',
    'spcl', 'wcnas', 'cr', 'ncr',
]


def darts(dataset: str = 'cifar10', **overrides: Any) -> Search:
    """DARTS, first order.

    Liu, Simonyan, Yang, ICLR 2019; papers/wcnas, table 25: SGD 0.025 -> 0.001, gradient norm clipped to 5, Adam 3e-4 on
    the architecture, 50 epochs, batch 64.
    """
    return _search(recipe('darts', dataset), overrides)


def darts_2nd(dataset: str = 'cifar10', **overrides: Any) -> Search:
    """DARTS, second order: the weights are unrolled one step. Numbers of table 25.

    The product is exact. The paper's form, ``hypergradient=Unrolled(by='finite_difference')``, is noise for the larger
    part: at its radius of 0.01 the term through the weights had a cosine of -0.2 to 0.5 with the exact one, and two to
    five times its length (docs/second-order.md).
    """
    return _search(recipe('darts_2nd', dataset), overrides, hypergradient=Unrolled())


def darts_plus(dataset: str = 'cifar10', **overrides: Any) -> Search:
    """DARTS+: DARTS that ends with two skip connections in the normal cell.

    Liang et al., 2019, criterion 1; numbers of table 25.
    """
    return _search(recipe('darts_plus', dataset), overrides, schedule=SkipCount())


def darts_minus(dataset: str = 'cifar10', **overrides: Any) -> Search:
    """DARTS-: an auxiliary skip beside each mixture, whose weight falls from 1, linearly.

    Chu et al., ICLR 2021; numbers of table 26, which are table 25's.
    """
    return _search(recipe('darts_minus', dataset), overrides, transforms=(AuxiliarySkip(),))


def pc_darts(dataset: str = 'cifar10', **overrides: Any) -> Search:
    """PC-DARTS: a quarter of the channels (ImageNet: half) through the operations, edges with weights of their own.

    Xu et al., ICLR 2020; papers/wcnas, tables 29 to 31: Adam 6e-4 (ImageNet 6e-3, clipped to 5), SGD 0.1 -> 0 (0.5 ->
    0), batch 256 (768), 50 epochs of which the first 15 (35) leave the architecture alone. The table clips W, G and V
    on ImageNet; A as well is the official code's. Not here: the linear warm-up of the learning rate on ImageNet.
    ``wcnas('pc_darts')`` has the paper's tester, an augmentation policy, where the evaluator gives none.
    """
    numbers = recipe('pc_darts', dataset)
    # Operations see half of the channels on ImageNet, a quarter on CIFAR.
    partial = PartialChannels(k=2 if dataset == 'imagenet' else 4)
    return _search(numbers, overrides, transforms=(partial,), schedule=SingleStage(warmup=numbers.warmup))


def p_darts(dataset: str = 'cifar10', **overrides: Any) -> Search:
    """P-DARTS: 5, 11, 17 cells with 8, 5, 3 operations, dropout behind skips, at most two skips in the normal cell.

    Chen et al., ICCV 2019; papers/wcnas, tables 27 and 28: Adam 6e-4, all gradients clipped to 5, SGD 0.025 -> 0, batch
    96, 25 epochs a stage of which the first 10 leave the architecture alone. Dropout is the text's 0, 0.4, 0.7 on
    CIFAR-10 and 0.1, 0.2, 0.3 on CIFAR-100 (section D.2.3, as in P-DARTS's paper), where the tables have 0.1, 0.4, 0.7
    for both. The tables' 8 layers contradict their own added 6 and 12, which are those of 5. ``wcnas('p_darts')`` has
    the paper's tester, an augmentation policy, where the evaluator gives none.
    The weights anneal anew in each stage; G and V, which go on from stage to stage, on one cosine over all three.
    """
    numbers = recipe('p_darts', dataset)
    # Dropout at the start of each of the three stages.
    dropout = SkipDropout((0.1, 0.2, 0.3) if dataset == 'cifar100' else (0.0, 0.4, 0.7))
    return _search(
        numbers,
        overrides,
        transforms=(dropout,),
        selection=MaxSkips(),
        schedule=Progressive((5, 3), num_cells=(5, 11, 17), warmup=numbers.warmup),
    )


def pr_darts(dataset: str = 'cifar10', **overrides: Any) -> Search:
    """PR-DARTS: stochastic gates of which two an edge are on, groups of operations and paths that are charged for.

    Zhou et al., NeurIPS 2020; papers/wcnas, table 32: numbers of table 25, 8 cells (official: 6 cells, batch 250, 200
    epochs, weight decay 5e-4). The temperature falls from 10 to 0.1, as in the text; the official script's falls from
    1. First order, as in the paper. ``wcnas('pr_darts')`` has the paper's tester, an augmentation policy, where the
    evaluator gives none.
    """
    return _search(recipe('pr_darts', dataset), overrides, relaxation=HardConcrete(), selection=TopPairs())


def gdas(dataset: str = 'cifar10', **overrides: Any) -> Search:
    """GDAS: one operation on each edge is drawn, and nothing else computed.

    Dong and Yang, CVPR 2019, section 3.2: the temperature falls from 10 to 0.1, first order; other numbers of table 25,
    Adam 3e-4 with weight decay 1e-3 among them, as in GDAS (official: 250 epochs, batch 256, Nesterov momentum, weight
    decay 5e-4).
    """
    return _search(recipe('gdas', dataset), overrides, relaxation=GumbelSoftmax(hard=True))


def drnas(dataset: str = 'cifar10', *, anchor: Literal['l2', 'kl'] = 'l2', **overrides: Any) -> Search:
    """DrNAS without its progression: mixing weights are drawn from Dirichlet distributions that are learned.

    Chen et al., ICLR 2021, section 3.2: anchored by weight decay 1e-3 (``'l2'``) or by the divergence from the uniform
    distribution, without weight decay (``'kl'``); other numbers of table 25.
    """
    return _search(recipe('drnas', dataset), overrides, relaxation=Dirichlet(anchor), arc_weight_decay=_DECAY[anchor])


def drnas_progressive(
    dataset: str = 'cifar10', *, anchor: Literal['l2', 'kl'] = 'l2', **overrides: Any
) -> Search:
    """DrNAS: first a sixth of the channels, then a quarter with 4 of 7 operations (ImageNet: a sixth, a third).

    Chen et al., ICLR 2021, section 3.3: searched at 20 cells of 36 channels without 'none' (``search_spaces/
    darts_seven.yml``), SGD 0.1 -> 0 over both stages, batch 64, Adam 6e-4, 25 epochs a stage of which the first 10
    leave the architecture alone; ImageNet: 14 cells of 48 channels, SGD 0.5 -> 0, batch 512, Adam 6e-3, clipped to 5.
    Not here: the linear warm-up of the learning rate on ImageNet.
    """
    numbers = recipe('drnas_progressive', dataset)
    # Operations see a sixth of the channels in the first stage, then a quarter (ImageNet: a third).
    shares = (6, 3) if dataset == 'imagenet' else (6, 4)
    return _search(
        numbers,
        overrides,
        relaxation=Dirichlet(anchor),
        arc_weight_decay=_DECAY[anchor],
        # DrNAS has no edge weights. `Progressive` replaces k, which must agree with its first share.
        transforms=(PartialChannels(k=shares[0], edge_normalization=False),),
        schedule=Progressive((4,), shares=shares, is_fresh=False, warmup=numbers.warmup),
    )


_DECAY = {'l2': 1e-3, 'kl': 0.0}
"""Weight decay of the architecture by DrNAS's anchor: an L2 penalty is the anchor itself, a divergence stands alone."""


def sdarts_rs(dataset: str = 'cifar10', **overrides: Any) -> Search:
    """SDARTS-RS: the weights learn under randomly perturbed architectures, radius 0.03 -> 0.3.

    Chen, Hsieh, ICML 2020, equation 4; numbers of table 25.
    """
    return _search(recipe('sdarts_rs', dataset), overrides, smoothing=RandomSmoothing())


def sdarts_adv(dataset: str = 'cifar10', **overrides: Any) -> Search:
    """SDARTS-ADV: the weights learn under adversarially perturbed architectures, 7 steps, radius 0.03 -> 0.3.

    Chen, Hsieh, ICML 2020, equations 5-6; numbers of table 25.
    """
    return _search(recipe('sdarts_adv', dataset), overrides, smoothing=AdversarialSmoothing())


def darts_pt(dataset: str = 'cifar10', *, tune_epochs: int = 5, **overrides: Any) -> Search:
    """DARTS-PT: DARTS, then each edge keeps the operation whose removal costs most accuracy, tuned in between.

    Wang et al., ICLR 2021; numbers of table 25, 5 epochs from one decision to the next at a tenth of the learning rate.

    Raises
    ------
    ValueError
        On other ``tune_epochs`` for a schedule that an override replaces.
    """
    # A number that would silently do nothing is refused.
    if 'schedule' in overrides and tune_epochs != 5:
        raise InvalidArgument(
            'tune_epochs', tune_epochs, 'leave it out, or give it to the schedule',
            reason=f"does nothing when schedule is {overrides['schedule']!r}",
        )
    return _search(recipe('darts_pt', dataset), overrides, schedule=Projected(tune_epochs=tune_epochs))


def r_darts(dataset: str = 'cifar10', **overrides: Any) -> Search:
    """RobustDARTS's early stopping: second-order DARTS that ends when the Hessian's largest eigenvalue has grown.

    Zela et al., ICLR 2020, section 4.3: a window of 5 measurements, factor 1.3; numbers of table 25.
    """
    return _search(recipe('r_darts', dataset), overrides, hypergradient=Unrolled(), schedule=HessianEigenvalue())


def dasgm(base: str = 'darts', dataset: str = 'cifar10', **overrides: Any) -> Search:
    """DASGM: a base method that minimises its loss on images of a GAN, which learns from the architecture's half.

    papers/dasgm, equations 2-6 (its table 2 has DARTS, P-DARTS and PC-DARTS as bases); numbers of the base's table.
    """
    return _base(base)(dataset, **{'objective': SynthesizedValidation(), **overrides})


def sanas(base: str = 'pc_darts', dataset: str = 'cifar10', **overrides: Any) -> Search:
    """SANAS: a base method that minimises the loss of a learner which was shown what is salient to another.

    papers/sanas_supplement, equations 1-19 and section A.4: A on every 5th batch, perturbations and W2 on every 3rd.
    Unrolled under every base; numbers of the base's table. For PC-DARTS its section I.2 agrees with these (batch 256,
    SGD 0.1 -> 0, Adam 6e-4, 8 cells), its table 10 does not (64, 0.025, 3e-4, 6). It tunes gamma in 0.1, 0.5, 1, 2, 3
    without saying what it took: 1 here.
    """
    return _base(base)(dataset, **{'objective': SaliencyAware(), 'hypergradient': Unrolled(), **overrides})


def spcl(base: str = 'darts_2nd', dataset: str = 'cifar10', **overrides: Any) -> Search:
    """SPCL: a base method that minimises its loss on the hardest validation examples, then on more of them.

    The WCNAS paper's adaptation of Jiang et al., AAAI 2015 (papers/wcnas, section 4.1); numbers of the base's table.
    """
    return _base(base)(dataset, **{'objective': SelfPaced(), **overrides})


def dihcl(base: str = 'darts_2nd', dataset: str = 'cifar10', **overrides: Any) -> Search:
    """DIHCL: a base method that minimises its loss on validation examples drawn by their running hardness.

    The WCNAS paper's adaptation of Zhou, Wang, Bilmes, NeurIPS 2020 (papers/wcnas, section 4.1); numbers of the base's
    table.
    """
    return _base(base)(dataset, **{'objective': InstanceHardness(), **overrides})


def wcnas(
    base: str = 'darts',
    dataset: str = 'cifar10',
    *,
    trade_off: float | None = None,
    average_weight: float | None = None,
    decov: float | None = None,
    every: int | None = None,
    hyperparameter_lr: float | None = None,
    reuse_gradient: bool | None = None,
    **overrides: Any,
) -> Search:
    """WCNAS: a base method that minimises its worst case (papers/wcnas, equations 1-16; numbers of tables 25 to 32).

    Where text and tables differ the tables win: 3e-4 for A and B (the text has 1e-3 for A), 50 epochs (section 3.3 has
    25). B has no weight decay (the table's 1e-3 would pull the momentum to 0.5 and the weight to 0.69 for no reason).
    The numbers of the auxiliary model are the evaluator's, those of the generator the tester's:
    ``SearchEvaluator(data, tester=FQGAN(10, width=256, **numbers.generator), **numbers.evaluator)`` with
    ``numbers = recipe('darts')`` has the table's. The testers' own default is lower than its 0.025, at which generators
    of less than the published width diverge; ``nni-wcnas`` leaves these there.

    The tester is the evaluator's. Without one it is an :class:`~nni_wcnas.tester.AugmentationPolicy` (equation 6), as
    in the paper under P-DARTS, PC-DARTS and PR-DARTS; under the other bases the paper has equation 5's GAN,
    ``SearchEvaluator(data, tester=FQGAN(...))``.

    Parameters
    ----------
    base
        The method whose other axes are taken: any other preset (``'darts'`` and ``'darts_2nd'`` give the same search).
        The learner's weights are unrolled (equations 7 and 12-14) under every base; pass
        ``hypergradient=FirstOrder()`` for the cheaper first-order form.
    dataset
        Data set whose numbers to take.
    trade_off
        Lambda of :class:`~nni_wcnas.objective.WorstCase`; None takes the table's: 0.5 for P-DARTS on CIFAR-10, 3 and
        0.1 for PC-DARTS on CIFAR-10 and CIFAR-100, else 1.
    hyperparameter_lr
        Learning rate of Adam on B; None takes the table's: 6e-3 for PC-DARTS on ImageNet, else 3e-4.
    average_weight, decov, every, reuse_gradient
        Arguments of :class:`~nni_wcnas.objective.WorstCase`; None stands for its defaults.
    **overrides
        Any argument of ``Search``.

    Raises
    ------
    ValueError
        On an unknown base or data set, or a number for an objective that an override replaces.
    """
    method = _base(base)
    numbers = {
        'trade_off': trade_off,
        'average_weight': average_weight,
        'decov': decov,
        'every': every,
        'hyperparameter_lr': hyperparameter_lr,
        'reuse_gradient': reuse_gradient,
    }
    # None means "not given" throughout: a number that was given wins over the table, and the table over `WorstCase`.
    given: dict[str, Any] = {name: value for name, value in numbers.items() if value is not None}
    if 'objective' in overrides:
        _refuse_useless(given, overrides['objective'])
    # The objective's own two numbers in the tables; all others of the table are the base's.
    table = recipe(base, dataset)
    found = {'trade_off': table.trade_off, 'hyperparameter_lr': table.hyperparameter_lr}
    objective = WorstCase(**{**found, **given})  # type: ignore[arg-type]
    # Overrides come last, so that any member or number can be replaced.
    return method(dataset, **{'objective': objective, 'hypergradient': Unrolled(), **overrides})


def _with_arguments_of(preset: Callable[..., Search]) -> Callable[[Callable[..., Search]], Callable[..., Search]]:
    """Give a preset that hands its arguments on the signature of the one that takes them; settings are read by it."""

    def decorate(function: Callable[..., Search]) -> Callable[..., Search]:
        function.__signature__ = inspect.signature(preset)  # type: ignore[attr-defined]
        function.__annotations__ = preset.__annotations__
        return function

    return decorate


@_with_arguments_of(wcnas)
def cr(base: str = 'darts', dataset: str = 'cifar10', **options: Any) -> Search:
    """WCNAS after its cost reductions, CR in papers/wcnas, table 9: :func:`wcnas` in half the base's epochs.

    Section 3.3: A, B and G on every eighth batch, DeCov (which is what halves the epochs), the tied auxiliary model,
    and a generator that was pre-trained with ``top_k`` and ``core_set=4`` (``pretraining`` in settings, or
    :func:`nni_wcnas.tester.pretrain`) in half its steps. The auxiliary model is the evaluator's: it is tied where the
    tester has a discriminator to share, as a GAN has, and a network of its own beside an augmentation policy. In
    Python the epochs are the evaluator's as well: ``recipe('cr', base=...)``. Arguments are those of :func:`wcnas`.
    """
    # CR differs from `wcnas` in its epochs alone, which are the evaluator's: `every` and DeCov are `WorstCase`'s
    # defaults, a tied auxiliary model is that of a tester with a discriminator.
    search = wcnas(base, dataset, **options)
    search.recipe = recipe('cr', dataset, base)
    return search


@_with_arguments_of(wcnas)
def ncr(base: str = 'darts', dataset: str = 'cifar10', **options: Any) -> Search:
    """WCNAS before its cost reductions, NCR in papers/wcnas, table 9: A, B and G on every batch, without DeCov.

    Section 3.3: all of the base's epochs, and a ResNet-18 as the auxiliary model, which in Python is the evaluator's:
    ``recipe('ncr', base=...)``. Arguments are those of :func:`wcnas`.
    """
    # Unless another objective is given, which these two numbers would do nothing in.
    if 'objective' not in options:
        given = {name: value for name, value in options.items() if value is not None}
        options = {'decov': 0.0, 'every': 1, **given}
    search = wcnas(base, dataset, **options)
    search.recipe = recipe('ncr', dataset, base)
    return search


def _base(name: str) -> Callable[..., Search]:
    """Return the preset of a base method.

    Raises
    ------
    ValueError
        When there is none of this name.
    """
    if name not in BASES:
        raise InvalidArgument('base', name, f"be one of {', '.join(BASES)}")
    return BASES[name]


def _refuse_useless(given: dict[str, Any], replacement: Objective) -> None:
    """Refuse numbers for an objective that another one replaces."""
    if given:
        name, value = next(iter(given.items()))
        raise InvalidArgument(
            name, value, 'leave it out, or give it to the objective',
            reason=f'does nothing when objective is {replacement!r}',
        )


def _search(numbers: Recipe, overrides: dict[str, Any], **members: Any) -> Search:
    """Return a search with the numbers of a recipe that ``Search`` takes; overrides win over members, and these over
    numbers."""
    names = ('arc_learning_rate', 'arc_gradient_clip_val', 'gradient_clip_val')
    search = Search(**{**{name: getattr(numbers, name) for name in names}, **members, **overrides})
    search.recipe = numbers
    return search


BASES: dict[str, Callable[..., Search]] = {
    preset.__name__: preset
    for preset in (
        darts, darts_2nd, pc_darts, p_darts, pr_darts, darts_minus, darts_plus, drnas, drnas_progressive, gdas,
        sdarts_rs, sdarts_adv, darts_pt, r_darts,
    )
}
"""Presets that ``base=`` accepts: methods whose objective is DARTS's, so that another one can take its place."""

PRESETS: dict[str, Callable[..., Search]] = {
    **BASES, 'dasgm': dasgm, 'sanas': sanas, 'spcl': spcl, 'dihcl': dihcl, 'wcnas': wcnas, 'cr': cr, 'ncr': ncr,
}
"""Every preset by name, as settings files spell them."""
