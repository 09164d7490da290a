"""Reference classifiers that nobody has trained: enough to judge images by."""

import torch
from torch import nn

from nni_wcnas.data import reference


def untrained(data):
    """Six nets as of :func:`nni_wcnas.data.reference_models`; their logits are spread, so that they have opinions."""
    models = nn.ModuleList(
        reference._build(width, data, seed=10 * width + fold) for width in reference.WIDTHS for fold in (0, 1)
    )
    with torch.no_grad():
        for model in models:
            model[-1].weight.mul_(30)
    return reference.Reference(torch.zeros(1), torch.zeros(1), models.eval().requires_grad_(False), 'reference-none')
