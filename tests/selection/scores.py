"""Scores of a cell from rows of logits."""

import torch

from nni_wcnas.contracts import CellLayout, CellScores

OPERATIONS = ('none', 'max_pool_3x3', 'skip_connect', 'sep_conv_3x3')


def scores_of(rows, nodes=1, kept=2, **layout):
    logits = torch.tensor(rows, dtype=torch.float64)
    return CellScores(logits, logits.softmax(-1), CellLayout(OPERATIONS, 2, nodes, kept, **layout))
