"""What is done to the edges of a cell beside mixing their candidates."""

from nni_wcnas.transform.auxiliary_skip import AuxiliarySkip
from nni_wcnas.transform.partial_channels import PartialChannels
from nni_wcnas.transform.skip_dropout import SkipDropout

__all__ = ['PartialChannels', 'AuxiliarySkip', 'SkipDropout']
