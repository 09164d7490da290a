"""What the architecture minimises."""

from nni_wcnas.objective.average_case import AverageCase
from nni_wcnas.objective.conditional_value_at_risk import ConditionalValueAtRisk
from nni_wcnas.objective.group_worst_case import GroupWorstCase
from nni_wcnas.objective.instance_hardness import InstanceHardness
from nni_wcnas.objective.saliency_aware import SaliencyAware
from nni_wcnas.objective.selected_examples import SelectedExamples
from nni_wcnas.objective.self_paced import SelfPaced
from nni_wcnas.objective.synthesized_validation import SynthesizedValidation
from nni_wcnas.objective.worst_case import WorstCase

__all__ = [
    'AverageCase',
    'ConditionalValueAtRisk',
    'GroupWorstCase',
    'InstanceHardness',
    'SaliencyAware',
    'SelectedExamples',
    'SelfPaced',
    'SynthesizedValidation',
    'WorstCase',
]
