"""Pre-training of the settings' tester."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

import pytorch_lightning

from nni_wcnas.cli import assembly
from nni_wcnas.cli.folder import make_folder
from nni_wcnas.cli.problems import CommandError
from nni_wcnas.cli.schema import Settings
from nni_wcnas.contracts import Batch
from nni_wcnas.tester import GAN, make_auxiliary
from nni_wcnas.tester.pretraining import pretrain

__all__ = ['pretrain_tester']


def pretrain_tester(
    settings: Settings,
    out: str | Path,
    steps: int,
    *,
    lr: float | None = None,
    discriminator_steps: int | None = None,
    top_k: bool = False,
    core_set: int = 1,
    resume: bool = False,
) -> dict[str, float]:
    """Pre-train on the weights' half of the data; the file is for the settings' ``tester.pretrained``.

    Raises
    ------
    CommandError
        When there is no tester, the file exists and is not resumed, or it was made with other settings.
    """
    out = Path(out)
    if settings.tester is None:
        raise CommandError(_nothing_to_train('The settings name no tester, and the augmentation policy in its place'))
    if out.is_dir():
        raise CommandError(f'{out} is a folder; name a file in it, e.g. {out / "tester.pt"}')
    if out.exists() and not resume:
        raise CommandError(f'{out} exists; continue it with --resume, or name another file')
    pytorch_lightning.seed_everything(settings.seed, verbose=False)
    data = assembly.make_data(settings)
    try:
        tester = assembly.make_tester(settings, data).to(assembly.device(settings))
        if not isinstance(tester, GAN):
            raise CommandError(_nothing_to_train(type(tester).__name__))
        auxiliary = make_auxiliary(settings.auxiliary.arguments(), tester).to(assembly.device(settings))

        def batches(epoch: int) -> Iterable[Batch]:
            data.set_epoch(epoch)
            return data.train_dataloader()

        make_folder(out.parent, 'name another file')
        return pretrain(
            tester,
            auxiliary,
            batches,
            steps,
            discriminator_steps=discriminator_steps,
            lr=lr,
            top_k=top_k,
            core_set=core_set,
            checkpoint=out,
            resume=resume and out.exists(),
            progress=sys.stderr.isatty(),
        )
    except ValueError as error:
        raise CommandError(str(error)) from error
    except RuntimeError as error:
        if 'diverged' not in str(error):
            raise
        told = str(error).partition(';')[0]
        raise CommandError(f'{told}; lower --lr' + (f' from {lr:g}' if lr else '')) from error


def _nothing_to_train(tester: str) -> str:
    return f'{tester} has nothing to pre-train; leave this step out, or set `tester: fq_gan`'
