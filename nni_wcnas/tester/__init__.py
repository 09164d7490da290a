"""Testers, which make images that are hard for the learner, and auxiliary models, which keep them meaningful."""

from nni_wcnas.tester.auxiliary import TiedAuxiliary, TimmAuxiliary, make_auxiliary
from nni_wcnas.tester.fq_gan import FQGAN
from nni_wcnas.tester.pretraining import pretrain

__all__ = ['FQGAN', 'TiedAuxiliary', 'TimmAuxiliary', 'make_auxiliary', 'pretrain']
