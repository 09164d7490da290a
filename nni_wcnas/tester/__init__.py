"""Testers, which make images that are hard for the learner, and auxiliary models, which keep them meaningful."""

from nni_wcnas.tester.augmentation_policy import AugmentationPolicy
from nni_wcnas.tester.auxiliary import TiedAuxiliary, TimmAuxiliary
from nni_wcnas.tester.auxiliary_choice import AuxiliaryOptions, default_auxiliary, follows_learner, make_auxiliary
from nni_wcnas.tester.big_gan import BigGAN
from nni_wcnas.tester.contra_gan import ContraGAN
from nni_wcnas.tester.corruptions import Corruptions
from nni_wcnas.tester.fq_gan import FQGAN
from nni_wcnas.tester.gan import GAN
from nni_wcnas.tester.perturbation import Perturbation
from nni_wcnas.tester.pretraining import pretrain
from nni_wcnas.tester.real_images import ImagePolicy
from nni_wcnas.tester.small_resnet import SMALL_RESNET, convolution_weights, fitting_width
from nni_wcnas.tester.sn_gan import SNGAN
from nni_wcnas.tester.style_gan2_ada import StyleGAN2ADA

__all__ = [
    'AugmentationPolicy',
    'AuxiliaryOptions',
    'BigGAN',
    'ContraGAN',
    'Corruptions',
    'FQGAN',
    'GAN',
    'ImagePolicy',
    'Perturbation',
    'SMALL_RESNET',
    'SNGAN',
    'StyleGAN2ADA',
    'TiedAuxiliary',
    'TimmAuxiliary',
    'convolution_weights',
    'default_auxiliary',
    'fitting_width',
    'follows_learner',
    'make_auxiliary',
    'pretrain',
]
