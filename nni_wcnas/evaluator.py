"""SearchEvaluator: the NNI evaluator of a search, with the tester and the auxiliary model as submodules."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal, get_args

import nni
import torch
from nni.nas.evaluator.pytorch import Lightning, LightningModule, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import Tensor, nn

from nni_wcnas.contracts import Auxiliary, Batch, Tester
from nni_wcnas.data import ImageData
from nni_wcnas.errors import InvalidArgument
from nni_wcnas.files.atomic_checkpoint import AtomicCheckpointIO
from nni_wcnas.files.checkpoint import check_checkpoint
from nni_wcnas.one_device import one_device
from nni_wcnas.tester import AugmentationPolicy, AuxiliaryOptions, follows_learner, make_auxiliary

__all__ = ['LearnerModule', 'Precision', 'SearchEvaluator']

Precision = Literal['32-true', 'bf16-mixed', '64-true']


class LearnerModule(LightningModule):
    """The learner's training recipe, and the home of the tester and the auxiliary model.

    The networks live here so that they are moved and checkpointed with the search; the weight optimiser sees the
    learner's parameters only.

    Parameters
    ----------
    data
        Gives the normalisation and, on resume, is told the epoch.
    tester, auxiliary
        The adversary's networks; None for an average-case search.
    lr, min_lr, momentum, weight_decay
        SGD with cosine annealing per epoch.
    hard
        Indices of the validation examples whose accuracy is reported apart.
    """

    def __init__(
        self,
        data: ImageData,
        tester: Tester | None,
        auxiliary: Auxiliary | None,
        *,
        lr: float,
        min_lr: float,
        momentum: float,
        weight_decay: float,
        hard: Tensor | None,
    ) -> None:
        super().__init__()
        self.criterion = nn.CrossEntropyLoss()
        self.tester, self.auxiliary = tester, auxiliary
        self.lr, self.min_lr = lr, min_lr
        self.momentum, self.weight_decay = momentum, weight_decay
        self.annealing: tuple[int, float] | None = None
        """Length of the cosine in epochs, and factor of the learning rate; None is the whole training, and 1."""
        self.set_epoch, self.num_classes = data.set_epoch, data.num_classes
        # Buffers move with the module to its device. They are not persistent, as they follow from the arguments; their
        # shape broadcasts over images (N, 3, H, W).
        self.register_buffer('mean', torch.tensor(data.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer('std', torch.tensor(data.std).view(1, 3, 1, 1), persistent=False)
        self.register_buffer('hard', torch.empty(0, dtype=torch.long) if hard is None else hard, persistent=False)
        self._validation: list[tuple[Tensor, Tensor]] = []

    def set_model(self, model: nn.Module) -> None:
        """Take the network in; refuse one with fewer classes than the data, whose loss would fail on a label.

        Raises
        ------
        ValueError
            When the last linear layer has too few outputs.
        """
        layers = [layer for layer in model.modules() if isinstance(layer, nn.Linear)]
        if layers and layers[-1].out_features < self.num_classes:
            raise ValueError(
                f'The model space tells {layers[-1].out_features} classes apart and the data have {self.num_classes}: '
                f'make it with num_classes={self.num_classes} (NNI: num_labels)'
            )
        super().set_model(model)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits, shape ``(N, classes)``."""
        return self.model(images)

    def configure_optimizers(self) -> dict[str, Any]:
        """Return SGD on the learner's parameters, with a cosine over the epochs of :attr:`annealing`."""
        # NNI's default would optimise all parameters of this module, the tester's included: `self.model` alone is W.
        epochs, factor = self.annealing or (self.trainer.max_epochs, 1.0)
        rate = factor * self.lr
        optimizer = torch.optim.SGD(self.model.parameters(), rate, self.momentum, weight_decay=self.weight_decay)
        lowest = min(self.min_lr, rate)  # A stage may begin below it.
        cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(1, epochs), lowest)
        return {'optimizer': optimizer, 'lr_scheduler': cosine}

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Return the cross-entropy of one batch; log loss and accuracy."""
        # A batch is (images, labels, indices, clean images); this step needs the first two.
        images, labels = batch[:2]
        logits = self(images)
        loss = self.criterion(logits, labels)
        correct = (logits.argmax(1) == labels).float().mean()
        self.log('train_loss', loss, prog_bar=True, on_step=False, on_epoch=True, batch_size=len(labels))
        self.log('train_acc', correct, on_step=False, on_epoch=True, batch_size=len(labels))
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Log the loss; collect which examples are classified correctly, with their indices."""
        batch = Batch(*batch)
        logits = self(batch.images)
        self.log('val_loss', self.criterion(logits, batch.labels), batch_size=len(batch.labels))
        self._validation.append((logits.argmax(1) == batch.labels, batch.indices))

    def on_validation_epoch_end(self) -> None:
        """Log the accuracy on all validation examples and on the hard ones."""
        # Both of shape (N_val,), over all batches: a mean of the batches' means
        # would weigh a small last batch too much.
        right, indices = (torch.cat(parts) for parts in zip(*self._validation))
        self._validation.clear()
        self.log('val_accuracy', right.float().mean(), prog_bar=True)
        if len(self.hard):
            self.log('val_accuracy_hard', right[torch.isin(indices, self.hard)].float().mean(), prog_bar=True)


@nni.trace
class SearchEvaluator(Lightning):
    """Train and validate the supernet of a search.

    Parameters
    ----------
    data
        One of the data modules of :mod:`nni_wcnas.data`: its first half trains the weights, its second the
        architecture.
    tester
        Makes the worst case. None suits an average-case search; to a worst-case search it is an
        :class:`~nni_wcnas.tester.AugmentationPolicy`, as to the paper's P-DARTS, PC-DARTS and PR-DARTS.
    auxiliary
        ``'tied'`` (the discriminator's trunk and a two-layer head), ``'small_resnet'`` (whose ``width`` follows the
        model space) or the name of a timm classifier; a map of ``name``, ``width``, ``lr``, ``min_lr``, ``momentum``,
        ``weight_decay``, ``gradient_clip_val`` and ``pretrained`` (a file of pre-training), each of which may be left
        out; or a module of one's own. Without a name it is ``'tied'`` for a tester with a discriminator,
        ``'small_resnet'`` for any other. Without a tester, or with one that has no hyper-parameters, it is not built;
        what follows the space is built by the strategy.
    max_epochs
        Length of the search; ``Search(schedule=SingleStage(epochs))`` overrides it.
    lr, min_lr, momentum, weight_decay
        SGD on the weights with cosine annealing per epoch (papers/wcnas, table 25).
    hard
        Indices (positions in the training set), int64, of the validation examples whose accuracy is logged apart as
        ``val_accuracy_hard``.
    checkpoint_directory
        Write ``last.ckpt`` there after each epoch, atomically; None writes none.
    resume
        Path of a checkpoint to continue from; the result is that of an uninterrupted run.
    precision
        Lightning's name: ``'bf16-mixed'`` computes the weights' step, the first-order architecture step and the
        adversary's steps under autocast; everything that is unrolled, perturbed or generated for the architecture stays
        in float32. Faster on GPUs and processors with bfloat16 units, slower elsewhere. ``'64-true'`` is for checks.
    **trainer_kwargs
        Further arguments of Lightning's ``Trainer``.

    Raises
    ------
    ValueError
        When the tester's resolution or number of classes is not the data's, the checkpoint is not complete, or a number
        is out of range.
    """

    def __init__(
        self,
        data: ImageData,
        *,
        tester: Tester | None = None,
        auxiliary: str | AuxiliaryOptions | Auxiliary | None = None,
        max_epochs: int = 50,
        lr: float = 0.025,
        min_lr: float = 0.001,
        momentum: float = 0.9,
        weight_decay: float = 3e-4,
        hard: Tensor | None = None,
        checkpoint_directory: str | Path | None = None,
        resume: str | Path | None = None,
        precision: Precision = '32-true',
        **trainer_kwargs: Any,
    ) -> None:
        if tester is not None:
            _check_tester(tester, data)
        _check_numbers(max_epochs, lr, min_lr, momentum, weight_decay)
        _check_precision(precision)
        module = LearnerModule(
            data,
            tester,
            _early_auxiliary(auxiliary, tester),
            lr=lr,
            min_lr=min_lr,
            momentum=momentum,
            weight_decay=weight_decay,
            hard=hard,
        )
        callbacks = [*trainer_kwargs.pop('callbacks', []), *_checkpoints(checkpoint_directory)]
        alone = one_device()
        # NNI's traced Trainer. The caller's arguments come last and win over these defaults.
        trainer = Trainer(
            **{
                'max_epochs': max_epochs,
                'logger': False,
                'enable_model_summary': False,
                'num_sanity_val_steps': 0,
                'enable_checkpointing': checkpoint_directory is not None,
                'callbacks': callbacks,
                'precision': precision,
                **alone,
                'plugins': [*alone['plugins'], AtomicCheckpointIO()],
                **trainer_kwargs,
            }
        )
        super().__init__(
            module,
            trainer,
            train_dataloaders=data.train_dataloader(),
            val_dataloaders=data.val_dataloader(),
            fit_kwargs=_resume_arguments(resume),
        )
        self.data = data
        self._auxiliary = auxiliary

    def bring_tester(self, *, has_auxiliary: bool, learner: int) -> None:
        """Take the default tester in where there is none, and its auxiliary model if it is wanted.

        Parameters
        ----------
        has_auxiliary
            Whether the objective trains an auxiliary model.
        learner
            Number of weights of the space's convolutions, which the width of a small auxiliary model follows.
        """
        module, data = self.module, self.data
        if module.tester is None:
            module.tester = AugmentationPolicy(data.num_classes, image_size=data.image_size)
        if has_auxiliary and module.auxiliary is None and module.tester.has_hyperparameters:
            module.auxiliary = _auxiliary_model(self._auxiliary, module.tester, learner)

    def validation_dataloader(self) -> Any:
        """Return the architecture's half without augmentation, in order."""
        return self.data.evaluation_dataloader('architecture')


def _checkpoints(directory: str | Path | None) -> list[ModelCheckpoint]:
    """Return the callback that writes ``last.ckpt`` after each epoch, or nothing."""
    if directory is None:
        return []
    # `enable_version_counter` would write last-v1.ckpt beside an earlier file, which a resumed run has.
    return [
        ModelCheckpoint(
            directory, 'last', save_top_k=1, save_on_train_epoch_end=True, enable_version_counter=False
        )
    ]


def _early_auxiliary(
    auxiliary: str | AuxiliaryOptions | Auxiliary | None, tester: Tester | None
) -> Auxiliary | None:
    """Return the auxiliary model, unless it must wait for the tester or the space to be known.

    Raises
    ------
    ValueError
        When there is one beside a tester without hyper-parameters.
    """
    if tester is not None and not tester.has_hyperparameters:
        if auxiliary is not None:
            raise ValueError(
                f'An auxiliary model does nothing beside {type(tester).__name__}, which has no hyper-parameters that '
                'it could keep meaningful: leave auxiliary out'
            )
        return None
    if isinstance(auxiliary, nn.Module):
        return auxiliary
    if tester is None or follows_learner(auxiliary, type(tester)):
        return None
    return make_auxiliary(auxiliary, tester)


def _auxiliary_model(
    auxiliary: str | AuxiliaryOptions | Auxiliary | None, tester: Tester, learner: int | None = None
) -> Auxiliary:
    """Return the module that was given, or make the auxiliary model that was described."""
    return auxiliary if isinstance(auxiliary, nn.Module) else make_auxiliary(auxiliary, tester, learner=learner)


def _check_tester(tester: Tester, data: ImageData) -> None:
    """Refuse a tester for images of another size, or of another number of classes, than the data's."""
    # A tester that changes images may have size 0, which takes any.
    if tester.image_size not in (0, data.image_size):
        raise ValueError(
            f'The tester makes images of {tester.image_size} pixels and {data.name} has images of {data.image_size}: '
            f'use {type(tester).__name__}(image_size={data.image_size})'
        )
    if tester.num_classes != data.num_classes:
        raise ValueError(
            f'The tester knows {tester.num_classes} classes and {data.name} has {data.num_classes}: use '
            f'{type(tester).__name__}(num_classes={data.num_classes})'
        )


def _check_precision(precision: str) -> None:
    """Refuse a precision that hypergradients are not made for."""
    if precision not in get_args(Precision):
        raise InvalidArgument(
            'precision', precision, f'be one of {", ".join(get_args(Precision))} (float16 needs scaled losses, which a '
            'hypergradient is not made for)',
        )


def _check_numbers(
    max_epochs: int, lr: float, min_lr: float, momentum: float, weight_decay: float
) -> None:
    """Refuse numbers that are out of range."""
    if max_epochs < 1:
        raise InvalidArgument('max_epochs', max_epochs, 'be at least 1')
    if not 0 < lr < math.inf:
        raise InvalidArgument('lr', lr, 'be positive and finite')
    if not 0 <= min_lr <= lr:
        raise InvalidArgument(
            'min_lr', min_lr, f'lie between 0 and lr={lr}'
        )
    if not 0 <= momentum < 1:
        raise InvalidArgument('momentum', momentum, 'be 0 or more and below 1')
    if not 0 <= weight_decay < math.inf:
        raise InvalidArgument('weight_decay', weight_decay, 'be 0 or more and finite')


def _resume_arguments(checkpoint: str | Path | None) -> dict[str, Any]:
    """Return the arguments of Lightning's ``fit`` that continue from a checkpoint, once it is found whole."""
    if checkpoint is None:
        return {}
    check_checkpoint(checkpoint)
    # `weights_only` loads without executing pickled code.
    return {'ckpt_path': str(checkpoint), 'weights_only': True}
