"""The registry: every member of every axis, by the name that settings files use.

One explicit table, no registration at import time. To add a member: one file, one row here, one test class.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nni.nas.hub.pytorch import DARTS as HubDARTS
from nni.nas.hub.pytorch import ENAS, PNAS, AmoebaNet, MobileNetV3Space, NasBench201, NASNet, ProxylessNAS

from nni_wcnas import (
    data,
    hypergradient,
    objective,
    presets,
    relaxation,
    schedule,
    selection,
    smoothing,
    tester,
    transform,
)
from nni_wcnas.nearest_name import nearest_names
from nni_wcnas.spaces import robust
from nni_wcnas.spaces.darts import DARTS
from nni_wcnas.spaces.nasbench201 import NASBench201
from nni_wcnas.spaces.view_network import ViewNetwork

__all__ = ['Option', 'OPTIONS', 'AXES', 'list_options', 'option', 'build']


@dataclass(frozen=True)
class Option:
    """One row of the registry.

    ``axis`` and ``name`` are what settings files say, ``factory`` makes the member, ``description`` is a line of
    ``nni-wcnas options``, ``paper`` its source.
    """

    axis: str
    name: str
    factory: Callable[..., Any]
    description: str
    paper: str


_DARTS = 'Liu et al., DARTS, ICLR 2019'
_WCNAS = 'Improving NAS by Minimizing Worst-Case Validation Loss, IEEE TAI 2026'
_NNI = 'Microsoft NNI 3.0'
_ROBUST = 'Zela et al., Understanding and Robustifying DARTS, ICLR 2020'
_PC = 'Xu et al., PC-DARTS, ICLR 2020'
_P = 'Chen et al., Progressive DARTS, ICCV 2019'
_PR = 'Zhou et al., Path-Regularized DARTS, NeurIPS 2020'
_MINUS = 'Chu et al., DARTS-, ICLR 2021'
_PLUS = 'Liang et al., DARTS+, 2019'
_GDAS = 'Dong and Yang, GDAS, CVPR 2019'
_DRNAS = 'Chen et al., DrNAS, ICLR 2021'
_SMOOTH = 'Chen and Hsieh, SmoothDARTS, ICML 2020'
_PT = 'Wang et al., DARTS-PT, ICLR 2021'
_GUMBEL = 'Maddison et al.; Jang et al., ICLR 2017'
_DASGM = 'Differentiable Architecture Search with a Generative Model, papers/dasgm'
_SPCL = 'Jiang et al., Self-Paced Curriculum Learning, AAAI 2015'
_DIHCL = 'Zhou et al., Dynamic Instance Hardness, NeurIPS 2020'
_SANAS = 'Hosseini and Xie, Saliency-Aware Neural Architecture Search, NeurIPS 2022'
_DADA = 'Li et al., Differentiable Automatic Data Augmentation, ECCV 2020'
_SHORTCUT = 'Geirhos et al., Shortcut learning, Nature Machine Intelligence 2020'
_CVAR = 'Rockafellar and Uryasev, Optimization of Conditional Value-at-Risk, 2000'
_GROUPS = 'Sagawa et al., Distributionally Robust Neural Networks, ICLR 2020'
_BENCHMARK = 'Dong and Yang, NAS-Bench-201, ICLR 2020'

# By axis, in the order in which `list_options` names them; names are those of settings files and stay as they are.
OPTIONS: tuple[Option, ...] = (
    Option('relaxation', 'softmax', relaxation.Softmax, 'mix operations with softmax(alpha)', _DARTS),
    Option(
        'relaxation',
        'gumbel_softmax',
        relaxation.GumbelSoftmax,
        'noisy softmax whose temperature falls; hard: one operation is drawn and computed',
        _GUMBEL,
    ),
    Option('relaxation', 'dirichlet', relaxation.Dirichlet, 'weights drawn from learned distributions', _DRNAS),
    Option(
        'relaxation', 'hard_concrete', relaxation.HardConcrete, 'random gates, two on an edge, charged by group', _PR
    ),
    Option('transform', 'partial_channels', transform.PartialChannels, 'operations see 1/k of the channels', _PC),
    Option('transform', 'auxiliary_skip', transform.AuxiliarySkip, 'a fading skip beside each mixture', _MINUS),
    Option('transform', 'skip_dropout', transform.SkipDropout, 'fading dropout behind skips', _P),
    Option('objective', 'average_case', objective.AverageCase, 'mean validation loss', _DARTS),
    Option(
        'objective',
        'worst_case',
        objective.WorstCase,
        'loss on images that a tester generates, kept meaningful',
        _WCNAS,
    ),
    Option(
        'objective',
        'synthesized_validation',
        objective.SynthesizedValidation,
        'loss on images of a GAN that learns alongside',
        _DASGM,
    ),
    Option('objective', 'self_paced', objective.SelfPaced, 'loss on the hardest validation examples, then more', _SPCL),
    Option(
        'objective',
        'instance_hardness',
        objective.InstanceHardness,
        'loss on validation examples drawn by running hardness',
        _DIHCL,
    ),
    Option(
        'objective',
        'conditional_value_at_risk',
        objective.ConditionalValueAtRisk,
        'mean loss of the worst share of each validation batch',
        _CVAR,
    ),
    Option(
        'objective',
        'group_worst_case',
        objective.GroupWorstCase,
        'loss of classes or groups, weighted by how bad they stay',
        _GROUPS,
    ),
    Option(
        'objective',
        'saliency_aware',
        objective.SaliencyAware,
        'loss of a learner that was shown what is salient to another',
        _SANAS,
    ),
    Option(
        'objective',
        'selected_examples',
        objective.SelectedExamples,
        'loss on generated examples that are selected to be hard',
        _WCNAS,
    ),
    Option('hypergradient', 'first_order', hypergradient.FirstOrder, 'weights taken as they are', _DARTS),
    Option(
        'hypergradient',
        'unrolled',
        hypergradient.Unrolled,
        'weights one SGD step ahead; by exact or finite_difference',
        _DARTS,
    ),
    Option('smoothing', 'no_smoothing', smoothing.NoSmoothing, 'architecture left alone in the weight step', _DARTS),
    Option(
        'smoothing', 'random_smoothing', smoothing.RandomSmoothing, 'weights learn under random changes of it', _SMOOTH
    ),
    Option(
        'smoothing',
        'adversarial_smoothing',
        smoothing.AdversarialSmoothing,
        'weights learn under the worst changes of it',
        _SMOOTH,
    ),
    Option(
        'selection',
        'magnitude',
        selection.Magnitude,
        'two strongest edges, strongest operation; by probability or logit',
        _DARTS,
    ),
    Option('selection', 'top_pairs', selection.TopPairs, 'strongest pairs of edge and operation', _PR),
    Option('selection', 'max_skips', selection.MaxSkips, 'another selection with at most so many skips', _P),
    Option('schedule', 'single_stage', schedule.SingleStage, 'one supernet, start to end', _DARTS),
    Option('schedule', 'progressive', schedule.Progressive, 'fewer operations, more cells or channels by stage', _P),
    Option('schedule', 'projected', schedule.Projected, 'edges decided by what their removal costs', _PT),
    Option('schedule', 'skip_count', schedule.SkipCount, 'end another schedule at so many skips', _PLUS),
    Option(
        'schedule', 'hessian_eigenvalue', schedule.HessianEigenvalue, 'end another schedule when A gets sharp', _ROBUST
    ),
    Option('preset', 'darts', presets.darts, 'DARTS, first order', _DARTS),
    Option('preset', 'darts_2nd', presets.darts_2nd, 'DARTS, second order', _DARTS),
    Option('preset', 'pc_darts', presets.pc_darts, 'PC-DARTS', _PC),
    Option('preset', 'p_darts', presets.p_darts, 'P-DARTS', _P),
    Option('preset', 'pr_darts', presets.pr_darts, 'PR-DARTS', _PR),
    Option('preset', 'darts_minus', presets.darts_minus, 'DARTS-', _MINUS),
    Option('preset', 'darts_plus', presets.darts_plus, 'DARTS+', _PLUS),
    Option('preset', 'drnas', presets.drnas, 'DrNAS, one stage', _DRNAS),
    Option('preset', 'drnas_progressive', presets.drnas_progressive, 'DrNAS, two stages', _DRNAS),
    Option('preset', 'gdas', presets.gdas, 'GDAS', _GDAS),
    Option('preset', 'sdarts_rs', presets.sdarts_rs, 'SmoothDARTS, random', _SMOOTH),
    Option('preset', 'sdarts_adv', presets.sdarts_adv, 'SmoothDARTS, adversarial', _SMOOTH),
    Option('preset', 'darts_pt', presets.darts_pt, 'DARTS-PT', _PT),
    Option('preset', 'r_darts', presets.r_darts, 'RobustDARTS, early stopping', _ROBUST),
    Option('preset', 'dasgm', presets.dasgm, 'a base method on generated validation images', _DASGM),
    Option('preset', 'sanas', presets.sanas, 'a base method whose weights learn what is salient', _SANAS),
    Option('preset', 'spcl', presets.spcl, 'a base method on the hardest validation examples', _SPCL),
    Option('preset', 'dihcl', presets.dihcl, 'a base method on validation examples that stay hard', _DIHCL),
    Option('preset', 'wcnas', presets.wcnas, 'a base method that minimises its worst case', _WCNAS),
    Option('preset', 'cr', presets.cr, 'wcnas after its cost reductions', _WCNAS),
    Option('preset', 'ncr', presets.ncr, 'wcnas before its cost reductions', _WCNAS),
    Option(
        'tester',
        'fq_gan',
        tester.FQGAN,
        'class-conditional GAN with feature quantisation',
        'Zhao et al., Feature Quantization, ICML 2020',
    ),
    Option(
        'tester',
        'sn_gan',
        tester.SNGAN,
        'class-conditional GAN, smaller discriminator',
        'Miyato et al., SN-GAN, ICLR 2018',
    ),
    Option(
        'tester',
        'big_gan',
        tester.BigGAN,
        'class-conditional GAN, flat or hierarchical',
        'Brock et al., BigGAN, ICLR 2019',
    ),
    Option(
        'tester',
        'augmentation_policy',
        tester.AugmentationPolicy,
        'learned pairs of image operations; where no other is given',
        _DADA,
    ),
    Option(
        'tester',
        'corruptions',
        tester.Corruptions,
        'learned common corruptions: noise, blur, weather, digital',
        'Hendrycks and Dietterich, Common Corruptions and Perturbations, ICLR 2019',
    ),
    Option(
        'tester',
        'perturbation',
        tester.Perturbation,
        'validation images attacked by FGSM or PGD; no B',
        'Madry et al., ICLR 2018',
    ),
    Option(
        'tester',
        'contra_gan',
        tester.ContraGAN,
        'GAN whose discriminator learns classes by contrast',
        'Kang and Park, ContraGAN, NeurIPS 2020',
    ),
    Option(
        'tester',
        'style_gan2_ada',
        tester.StyleGAN2ADA,
        'class-conditional StyleGAN2 with adaptive augmentation',
        'Karras et al., Training GANs with Limited Data, NeurIPS 2020',
    ),
    Option('space', 'darts', DARTS, 'official DARTS search network, any number of classes', _DARTS),
    Option('space', 'hub_darts', HubDARTS, "NNI's DARTS space, 10 classes", _NNI),
    Option('space', 's1', robust.s1, 'DARTS with two operations on each edge, others on each', _ROBUST),
    Option('space', 's2', robust.s2, 'DARTS with skip_connect and sep_conv_3x3', _ROBUST),
    Option('space', 's3', robust.s3, 'DARTS with none, skip_connect and sep_conv_3x3', _ROBUST),
    Option('space', 's4', robust.s4, 'DARTS with noise and sep_conv_3x3', _ROBUST),
    Option('space', 'nasbench201', NASBench201, 'one cell, an operation on each of 6 edges', _BENCHMARK),
    Option('space', 'view_network', ViewNetwork, 'a plain network, one choice: what it sees of its images', _SHORTCUT),
    Option('space', 'hub_nasbench201', NasBench201, "NNI's NAS-Bench-201 space, single choices", _BENCHMARK),
    Option('space', 'hub_nasnet', NASNet, "NNI's NASNet cells, 10 classes", 'Zoph et al., NASNet, CVPR 2018'),
    Option('space', 'hub_enas', ENAS, "NNI's ENAS cells, 10 classes", 'Pham et al., ENAS, ICML 2018'),
    Option(
        'space', 'hub_amoebanet', AmoebaNet, "NNI's AmoebaNet cells, 10 classes", 'Real et al., AmoebaNet, AAAI 2019'
    ),
    Option('space', 'hub_pnas', PNAS, "NNI's PNAS cells, 10 classes", 'Liu et al., Progressive NAS, ECCV 2018'),
    Option('space', 'proxylessnas', ProxylessNAS, "NNI's ProxylessNAS space", 'Cai et al., ProxylessNAS, ICLR 2019'),
    Option(
        'space', 'mobilenetv3', MobileNetV3Space, "NNI's MobileNetV3 space", 'Howard et al., MobileNetV3, ICCV 2019'
    ),
    Option(
        'data',
        'digits',
        data.Digits,
        "scikit-learn's handwritten digits, embedded, 16 pixels",
        'Alpaydin and Kaynak, UCI 1998',
    ),
    Option('data', 'cifar10', data.CIFAR10, 'CIFAR-10', 'Krizhevsky, 2009'),
    Option('data', 'cifar100', data.CIFAR100, 'CIFAR-100', 'Krizhevsky, 2009'),
    Option('data', 'fashion_mnist', data.FashionMNIST, 'Fashion-MNIST', 'Xiao et al., 2017'),
    Option('data', 'svhn', data.SVHN, 'Street View House Numbers', 'Netzer et al., 2011'),
    Option('data', 'stl10', data.STL10, 'STL-10, labelled images, 96 pixels', 'Coates et al., AISTATS 2011'),
    Option('data', 'image_folder', data.ImageFolder, 'a folder of images for each class', 'torchvision'),
)

AXES: tuple[str, ...] = ('relaxation', 'objective', 'hypergradient', 'smoothing', 'selection', 'schedule')
"""The six axes of ``Search``; the registry also names transforms, presets, testers, spaces and data sets."""


def list_options(axis: str) -> tuple[str, ...]:
    """Return the names on one axis, in the order of the registry.

    Raises
    ------
    ValueError
        When there is no such axis.

    Examples
    --------
    >>> list_options('hypergradient')
    ('first_order', 'unrolled')
    """
    names = tuple(row.name for row in OPTIONS if row.axis == axis)
    if not names:
        raise ValueError(f'{axis!r} is not an axis; there are {", ".join(dict.fromkeys(row.axis for row in OPTIONS))}')
    return names


def option(axis: str, name: str) -> Option:
    """Return the row of one member.

    Raises
    ------
    ValueError
        When there is none; the message names the nearest ones.
    """
    for row in OPTIONS:
        if (row.axis, row.name) == (axis, name):
            return row
    known = list_options(axis)
    # A class is named as its row is, but for case and underscores.
    same = [other for other in known if other.replace('_', '') == str(name).replace('_', '').lower()]
    near = same or nearest_names(name, known, most=2)
    raise ValueError(
        f'{name!r} is not a known {axis}'
        + (f'; did you mean {" or ".join(near)}?' if near else f'; there are {", ".join(known)}')
    )


def build(axis: str, name: str, **arguments: Any) -> Any:
    """Make a member from its name and arguments, as a settings file does.

    Examples
    --------
    >>> build('selection', 'magnitude', by='logit')
    Magnitude(by='logit')
    """
    # Arguments are checked by the member's own constructor, whose messages say what it takes.
    return option(axis, name).factory(**arguments)
