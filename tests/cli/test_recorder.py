"""Which generator the pictures of a search come from, and that pre-training's defaults average it."""

from __future__ import annotations

from types import SimpleNamespace

import torch

from nni_wcnas.cli.parser import make_parser
from nni_wcnas.cli.recorder import Recorder
from nni_wcnas.tester import FQGAN


def test_grids_and_reference_error_show_the_live_generator() -> None:
    """The images change with the live generator, and not with its average; nothing is drawn from the search's noise."""
    grids: list[torch.Tensor] = []
    judged: list[torch.Tensor] = []
    run = SimpleNamespace(write_generated=lambda epoch, images, *_: grids.append(images), write_history=lambda rows: 0)
    reference = SimpleNamespace(error=lambda images, labels: judged.append(images) or 0.5)
    tester = FQGAN(2, image_size=16, width=4, latent=6, dictionary_size=5)
    module = SimpleNamespace(training_module=SimpleNamespace(tester=tester))

    def recorded(network: torch.nn.Module | None) -> None:
        if network is not None:
            torch.nn.init.normal_(network.linear.weight)
        state = torch.get_rng_state()
        Recorder(run, reference).on_train_start(None, module)
        assert torch.equal(torch.get_rng_state(), state)

    for network in (None, tester.average.module, tester.generator):
        recorded(network)
    for first, other_average, other_generator in (grids, judged):
        assert torch.equal(first, other_average)
        assert not torch.equal(first, other_generator)


def test_pre_training_averages_by_default() -> None:
    """Of the copy that the average begins with, the default number of steps leaves less than a thousandth."""
    steps = make_parser().parse_args(['pretrain', 'settings.yml', 'out.pt']).steps
    settings = FQGAN(2, image_size=16, width=4, latent=6, dictionary_size=5).settings()
    assert settings['ema_decay'] ** max(steps - settings['ema_start'], 0) < 1e-3
