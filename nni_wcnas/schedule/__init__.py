"""Which supernets are trained, for how long."""

from nni_wcnas.schedule.single_stage import SingleStage

__all__ = ['SingleStage']
