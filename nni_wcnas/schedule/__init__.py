"""Which supernets are trained, for how long."""

from nni_wcnas.schedule.hessian_eigenvalue import HessianEigenvalue
from nni_wcnas.schedule.lengths import with_lengths
from nni_wcnas.schedule.progressive import Progressive
from nni_wcnas.schedule.projected import Projected
from nni_wcnas.schedule.single_stage import SingleStage
from nni_wcnas.schedule.skip_count import SkipCount

__all__ = ['HessianEigenvalue', 'Progressive', 'Projected', 'SingleStage', 'SkipCount', 'with_lengths']
