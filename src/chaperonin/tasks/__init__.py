"""What a model is trained for: one file a task, each with its batch and its loss."""

from chaperonin.tasks.heads import PairHead, ResidueHead, SequenceHead, build_head
from chaperonin.tasks.items import FeatureBatch, FeatureItem, Item, LabelledBatch
from chaperonin.tasks.masked_language import MaskedLanguage
from chaperonin.tasks.pairs import ResiduePairs
from chaperonin.tasks.predictor import Predictor
from chaperonin.tasks.property import SequenceProperty
from chaperonin.tasks.residues import ResidueProperty
from chaperonin.tasks.supervised import Supervised
from chaperonin.tasks.target import Kind, Level, Target, infer_target
from chaperonin.tasks.task import Task
from chaperonin.tasks.weights import ClassWeights, class_weights

TASKS: dict[Level, type[Supervised]] = {
    task.level: task for task in (SequenceProperty, ResidueProperty, ResiduePairs)
}
"""The task of each level of label."""

__all__ = [
    "TASKS",
    "ClassWeights",
    "FeatureBatch",
    "FeatureItem",
    "Item",
    "Kind",
    "LabelledBatch",
    "Level",
    "MaskedLanguage",
    "PairHead",
    "Predictor",
    "ResidueHead",
    "ResiduePairs",
    "ResidueProperty",
    "SequenceHead",
    "SequenceProperty",
    "Supervised",
    "Target",
    "Task",
    "build_head",
    "class_weights",
    "infer_target",
]
