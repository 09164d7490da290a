"""The design on one page: what the parts of a search may ask of each other.

A search is one member of each of six axes (relaxation, objective, hypergradient, smoothing, selection, schedule) plus,
for the worst-case objectives, a tester and an auxiliary model. Members never import each other: they meet in
``nni_wcnas.search.module`` through the classes below. A member is abstract (here) or final (its own file); to change
one, wrap it.

Symbols follow the paper: A architecture, W learner weights, G generator, S discriminator, B the tester's
hyper-parameters, V auxiliary model.
"""

from __future__ import annotations

from nni_wcnas.contracts.batch import Batch, Losses, Parameters, SGDStep
from nni_wcnas.contracts.cell import CellGenotype, CellLayout, CellScores, Choice, Edge
from nni_wcnas.contracts.hypergradient import Hypergradient, Learner, Lookahead, Step, TrainingPass
from nni_wcnas.contracts.moment import Moment
from nni_wcnas.contracts.objective import ArchitectureUpdate, HyperparameterUpdate, Objective
from nni_wcnas.contracts.relaxation import Weighting
from nni_wcnas.contracts.schedule import Schedule, Stage, Supernet
from nni_wcnas.contracts.selection import Selection
from nni_wcnas.contracts.smoothing import Smoothing
from nni_wcnas.contracts.tester import Auxiliary, GenerativeTester, NamedOptimizer, Noise, Tester
from nni_wcnas.contracts.transform import Transform

__all__ = [
    'Parameters',
    'Losses',
    'Batch',
    'SGDStep',
    'Moment',
    'Edge',
    'CellLayout',
    'CellScores',
    'Choice',
    'CellGenotype',
    'Stage',
    'Supernet',
    'ArchitectureUpdate',
    'HyperparameterUpdate',
    'NamedOptimizer',
    'Weighting',
    'Transform',
    'Selection',
    'Schedule',
    'Smoothing',
    'Noise',
    'Tester',
    'GenerativeTester',
    'Auxiliary',
    'Learner',
    'TrainingPass',
    'Lookahead',
    'Hypergradient',
    'Step',
    'Objective',
]
