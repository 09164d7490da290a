"""A worst-case search small enough for many tests: real digits, a real FQ-GAN, seconds."""

import torch
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.space import RawFormatModelSpace

import nni_wcnas as wc

QUIET = {'enable_progress_bar': False, 'accelerator': 'cpu'}


def make_parts(*, epochs=1, limit=64, seed=0, space=None, tester=None, **evaluator):
    """Data, space and evaluator from one seed."""
    torch.manual_seed(seed)
    data = wc.data.Digits(batch_size=8, limit=limit)
    space = space or wc.spaces.DARTS(
        width=2, num_cells=3, operations=('none', 'max_pool_3x3', 'skip_connect', 'sep_conv_3x3')
    )
    tester = tester or wc.FQGAN(10, image_size=16, width=4, latent=8, dictionary_size=8, ema_start=1)
    return space, wc.SearchEvaluator(data, tester=tester, max_epochs=epochs, **{**QUIET, **evaluator})


def make_plain_parts(*, epochs=1, limit=64, seed=0, **evaluator):
    """The same without a tester, in a space of two nodes."""
    torch.manual_seed(seed)
    data = wc.data.Digits(batch_size=8, limit=limit)
    space = wc.spaces.DARTS(
        width=2, num_cells=3, num_nodes=2, operations=('none', 'max_pool_3x3', 'skip_connect', 'sep_conv_3x3')
    )
    return space, wc.SearchEvaluator(data, max_epochs=epochs, **{**QUIET, **evaluator})


def run(strategy, *, make=make_parts, **arguments):
    """Search; returns the strategy."""
    strategy(RawFormatModelSpace.from_model(*make(**arguments)), SequentialExecutionEngine())
    return strategy
