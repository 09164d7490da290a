"""The papers' evaluation network: a found pair of cells, stacked behind the stem of their space.

Batch norm is affine, pools have no batch norm, every operation but the identity has drop path, and an auxiliary
classifier hangs after the cell of the second reduction, in training only. Needs neither NNI nor Lightning.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from nni_wcnas.contracts import CellGenotype
from nni_wcnas.spaces.architecture import Architecture
from nni_wcnas.spaces.operations import FactorizedReduce, ReLUConvNorm, build_operation
from nni_wcnas.spaces.stem import build_stem

__all__ = ['AuxiliaryHead', 'CellNetwork', 'DropPath', 'count_macs', 'count_parameters']


class DropPath(nn.Module):
    """Set whole examples of a path to zero while training, and scale the others by ``1 / keep``.

    Draws from torch's global random state, once a call, and nothing when the probability is 0.

    Parameters
    ----------
    probability
        Chance that an example is dropped, in [0, 1).
    """

    def __init__(self, probability: float = 0.0):
        super().__init__()
        self.probability = probability
        self.keep: Tensor | None
        # The chance to keep as a tensor, where `keep_as_data` has been called. It is a buffer so that it moves with the
        # module, and not persistent so that checkpoints have the same keys with and without compilation.
        self.register_buffer('keep', None, persistent=False)

    def keep_as_data(self) -> None:
        """Hold the chance to keep in a tensor, so that compiled code stays valid when the chance changes.

        A number in the module would be a constant of the compiled code, which each epoch's new chance would invalidate.
        Afterwards the layer draws from the random state in another way than before, even at probability 0.
        """
        self.keep = torch.tensor(1 - self.probability)

    def set_probability(self, probability: float) -> None:
        """Change the chance that an example is dropped, in [0, 1)."""
        self.probability = probability
        if self.keep is not None:
            self.keep.fill_(1 - probability)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, C, H, W)`` to the same shape; never in place, as autograd may still need ``x``."""
        if self.training and self.keep is not None:
            # As below, with the chance read from the tensor; `keep` has shape (), the mask (N, 1, 1, 1).
            return x * (torch.bernoulli(self.keep.expand(len(x), 1, 1, 1)) / self.keep).to(x.dtype)
        if not self.training or self.probability == 0:
            return x
        # y = x * m / keep with m ~ Bernoulli(keep) for each example: its mean is x, so evaluation has no factor.
        keep = 1 - self.probability
        mask = torch.empty(len(x), 1, 1, 1, device=x.device, dtype=x.dtype).bernoulli_(keep)
        return x * (mask / keep)

    def extra_repr(self) -> str:
        """Show the probability in the module's ``repr``."""
        return f'probability={self.probability}'


class AuxiliaryHead(nn.Module):
    """The auxiliary classifier in the middle of the network: a pool, two convolutions and a linear layer.

    The papers' pool (5 wide, stride 3) turns the 8x8 map of a 32x32 image into 2x2, the one of stride 2 the 7x7 map of
    a 224x224 image behind the ImageNet stem. Where neither would give 2x2 (a 4x4 map of a 16x16 image, a 16x16 map of a
    64x64 one), an adaptive average pool to 2x2 stands in, with the same weights.

    Parameters
    ----------
    channels
        Channels of the feature map.
    num_classes
        Number of classes.
    """

    def __init__(self, channels: int, num_classes: int):
        super().__init__()
        self.features = nn.Sequential(
            # (N, channels, 2, 2) -> (N, 128, 2, 2) -> (N, 768, 1, 1). Both norms are there: some published code leaves
            # the second one out on ImageNet.
            nn.Conv2d(channels, 128, 1, bias=False), nn.BatchNorm2d(128), nn.ReLU(),
            nn.Conv2d(128, 768, 2, bias=False), nn.BatchNorm2d(768), nn.ReLU(),
        )
        self.classifier = nn.Linear(768, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, channels, H, W)`` to logits ``(N, num_classes)``."""
        x = F.relu(x)
        # floor((side - 5) / stride) + 1 = 2 for sides 8 to 10 at stride 3, and for sides 7 and 8 at stride 2.
        if all(8 <= side <= 10 for side in x.shape[-2:]):
            x = F.avg_pool2d(x, 5, stride=3)
        elif all(7 <= side <= 8 for side in x.shape[-2:]):
            x = F.avg_pool2d(x, 5, stride=2)
        else:
            x = F.adaptive_avg_pool2d(x, 2)
        return self.classifier(self.features(x).flatten(1))


class Cell(nn.Module):
    """One discrete cell: each node adds up its kept edges, and the output nodes are concatenated.

    Parameters
    ----------
    genotype
        Kept edges of each node; their sources count the two inputs as 0 and 1, and the nodes from 2.
    outputs
        Nodes, counted from 0, that are the output of the cell.
    channels_before, channels_last, channels
        Output channels of the cell before the last, of the last cell, and channels of each node of this cell.
    reduction, reduction_before
        Whether this cell halves the size, and whether the last one did, so that the older input is twice as large.
    """

    def __init__(self, genotype: CellGenotype, outputs: Sequence[int], channels_before: int, channels_last: int,
                 channels: int, *, reduction: bool, reduction_before: bool):
        super().__init__()
        # Behind a reduction cell the older input has twice the side of the newer one: it is halved here, so that both
        # inputs have the shape (N, channels, H, W).
        preprocess: type[nn.Module] = FactorizedReduce if reduction_before else ReLUConvNorm
        self.preprocess_before = preprocess(channels_before, channels)
        self.preprocess_last = ReLUConvNorm(channels_last, channels)
        self.outputs = outputs
        self.sources = [[choice.source for choice in choices] for choices in genotype]
        self.edges = nn.ModuleList()  # Flat: node by node, in the order of `sources`.
        for choices in genotype:
            for choice in choices:
                # Only edges from the cell's inputs stride: a node's state has the reduced size already.
                operation = build_operation(choice.operation, channels, 2 if reduction and choice.source < 2 else 1)
                # As in DARTS's code the identity is never dropped. A skip that halves the size is no identity.
                is_identity = isinstance(operation, nn.Identity)
                self.edges.append(operation if is_identity else nn.Sequential(operation, DropPath()))

    def forward(self, before: Tensor, last: Tensor) -> Tensor:
        """Map the outputs of the two cells before to the output of this one.

        Returns
        -------
        torch.Tensor
            Shape ``(N, len(outputs) * channels, H', W')``, where H' and W' are halved by a reduction cell.
        """
        states = [self.preprocess_before(before), self.preprocess_last(last)]
        edges = iter(self.edges)
        for sources in self.sources:
            # x_j = sum over the kept edges (i, j) of o_ij(x_i). Not `sum`, which would begin by adding to the number 0.
            states.append(functools.reduce(torch.add, [next(edges)(states[source]) for source in sources]))
        return torch.cat([states[2 + node] for node in self.outputs], dim=1)


class CellNetwork(nn.Module):
    """A found architecture as the papers train it from scratch.

    Parameters
    ----------
    architecture
        A pair of cells, found in any cell space.
    channels
        Channels of each node before the first reduction; each of the two reductions doubles them.
    cells
        Number of cells; those at a third and at two thirds of the depth are reduction cells.
    num_classes
        Number of classes.
    auxiliary_tower
        Whether to train a second classifier after the second reduction.
    drop_path
        Chance that the output of an operation is dropped, drawn for each example; :meth:`set_drop_path` changes it.

    Raises
    ------
    ValueError
        If the architecture has no cells, there are fewer than three, or a number is out of range.
    """

    def __init__(self, architecture: Architecture, channels: int = 36, cells: int = 20, num_classes: int = 10,
                 auxiliary_tower: bool = True, drop_path: float = 0.2):
        super().__init__()
        if not architecture.is_cell:
            raise ValueError(f'the space {architecture.space} has no normal and reduction cell to stack: freeze the '
                             'space with its sample instead')
        if num_classes < 1:
            raise ValueError(f'num_classes is {num_classes}, but there is something to classify: give at least 1')
        if cells < 3:
            raise ValueError(f'cells is {cells}, but two of them reduce, at a third and two thirds: give at least 3')
        if channels < 2:
            raise ValueError(f'channels is {channels}, but a reduction splits them in two: give at least 2')
        genotype = architecture.genotype()
        # Cells are counted from 0, as in DARTS's code.
        reductions = (cells // 3, 2 * cells // 3)
        outputs = {name: architecture.outputs(name) for name in genotype}
        is_large = architecture.arguments.get('stem') == 'imagenet'
        # Output channels of the two cells before: at first those of the stem, which for CIFAR is three times as wide
        # as a node (stem_multiplier in DARTS's code).
        before = last = channels if is_large else 3 * channels
        self.stem, self.second_stem = build_stem('imagenet' if is_large else 'cifar', last, architecture.view)
        self.cells = nn.ModuleList()
        # The second ImageNet stem strides, so the first cell's inputs differ in size as behind a reduction cell.
        reduces = is_large
        for index in range(cells):
            # Doubled from each reduction cell on, itself included.
            width = channels * 2 ** sum(index >= reduction for reduction in reductions)
            reduced, reduces = reduces, index in reductions
            name = 'reduce' if reduces else 'normal'
            self.cells.append(Cell(genotype[name], outputs[name], before, last, width,
                                   reduction=reduces, reduction_before=reduced))
            # A cell concatenates its output nodes, so its output has `width` channels for each of them.
            before, last = last, width * len(outputs[name])
        self.auxiliary_at = reductions[1]
        # `width` is the last cell's here, and the second reduction's too: it is the last change of width.
        self.auxiliary = AuxiliaryHead(width * len(outputs['reduce']), num_classes) if auxiliary_tower else None
        self.classifier = nn.Linear(last, num_classes)
        self.set_drop_path(drop_path)

    def set_drop_path(self, probability: float) -> None:
        """Change the chance of dropping a path in all operations of the network.

        Parameters
        ----------
        probability
            The new chance, in [0, 1).

        Raises
        ------
        ValueError
            If it is out of range.
        """
        if not 0 <= probability < 1:
            raise ValueError(f'drop_path is {probability}, but it is a chance: give a number from 0 to below 1')
        for module in self.modules():
            if isinstance(module, DropPath):
                module.set_probability(probability)

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Classify images.

        Parameters
        ----------
        images
            Shape ``(N, 3, H, W)``.

        Returns
        -------
        torch.Tensor or tuple of torch.Tensor
            Logits, shape ``(N, num_classes)``; in training with an auxiliary tower a pair, the tower's second, as in
            NNI's hub.
        """
        # Behind the CIFAR stem both inputs of the first cell are the same map: its second stem is the identity.
        before = self.stem(images)
        last = self.second_stem(before)
        auxiliary = None
        for index, cell in enumerate(self.cells):
            before, last = last, cell(before, last)
            # Hung behind the second reduction, on its whole output, shape (N, width * output nodes, H / 4, W / 4) for
            # CIFAR; never computed in evaluation.
            if self.training and self.auxiliary is not None and index == self.auxiliary_at:
                auxiliary = self.auxiliary(last)
        logits = self.classifier(last.mean(dim=(2, 3)))  # Global average pool: (N, C, H, W) -> (N, C).
        return logits if auxiliary is None else (logits, auxiliary)


def count_parameters(model: nn.Module) -> int:
    """Count the weights that classify; like the papers, without those of an auxiliary tower.

    Parameters
    ----------
    model
        Parameters with ``'auxiliary'`` in their name are left out.
    """
    return sum(parameter.numel() for name, parameter in model.named_parameters() if 'auxiliary' not in name)


def count_macs(model: nn.Module, image_size: int) -> int:
    """Count multiply-accumulates of one image, in convolutions and linear layers only.

    Runs a copy on the meta device: no numbers are computed, the model is not touched.

    Parameters
    ----------
    model
        Takes images of shape ``(N, 3, image_size, image_size)``.
    image_size
        Side of the image, in pixels.
    """
    # On the meta device only shapes are followed. Evaluation mode leaves the auxiliary tower out, as the papers do.
    model = copy.deepcopy(model).to('meta').eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.empty(1, 3, image_size, image_size, device='meta'))
    return counter.get_total_flops() // 2  # The counter takes a multiply-add for two operations.
