"""What replaces each choice of a model space while it is searched."""

from nni_wcnas.supernet.cell import RelaxedCell
from nni_wcnas.supernet.compilation import Compilation, Compiled
from nni_wcnas.supernet.dense_cell import RelaxedDenseCell
from nni_wcnas.supernet.mixer import Clock, Mixer, MixingWeights
from nni_wcnas.supernet.relaxed_edges import RelaxedEdges

__all__ = [
    'Clock',
    'Compilation',
    'Compiled',
    'Mixer',
    'MixingWeights',
    'RelaxedCell',
    'RelaxedDenseCell',
    'RelaxedEdges',
]
