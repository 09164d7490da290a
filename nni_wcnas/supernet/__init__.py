"""What replaces each choice of a model space while it is searched."""

from nni_wcnas.supernet.cell import MixingWeights, RelaxedCell

__all__ = ['MixingWeights', 'RelaxedCell']
