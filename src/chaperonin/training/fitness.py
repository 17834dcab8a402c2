"""A fold of an assay: trained on the others, by a head on frozen vectors or by LoRA, beside the baselines."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from chaperonin.adapt.lora import LoraSettings
from chaperonin.data.assays import Assay
from chaperonin.data.batching import plan_batches
from chaperonin.data.splitting import Parts
from chaperonin.data.windows import WINDOW
from chaperonin.errors import InputError
from chaperonin.kernels.cores import core_threads
from chaperonin.models.esm.model import ESM
from chaperonin.tasks.fitness import MODEL, FitnessHead, FoldResult, FrozenRecipe, LoraRecipe, Method, Recipes
from chaperonin.tasks.items import FeatureItem, Item
from chaperonin.tasks.predictor import Predictor
from chaperonin.tasks.property import SequenceProperty
from chaperonin.tasks.target import Target
from chaperonin.training import state
from chaperonin.training.examples import Examples
from chaperonin.training.finetune import EVALUATION_TOKENS, load_base, prove_gradients
from chaperonin.training.fitness_baselines import baselines
from chaperonin.training.judged import JudgedTraining
from chaperonin.training.loop import LoopSettings
from chaperonin.training.means import Means, apply_means, base_dtype
from chaperonin.training.optimizer import OptimizerSettings
from chaperonin.training.precision import autocast_dtype
from chaperonin.training.schedule import Schedule

_CLIP_NORM = 0.1
_WARMUP_SHARE = 0.05
_OPTIMIZER = OptimizerSettings(betas=(0.9, 0.999), weight_decay=0.01)


@dataclass(frozen=True)
class FoldLearner:
    """Learns folds of assays; the same fold always comes out the same."""

    model: str
    """Name of the base, which LoRA loads anew for every fold."""
    device: torch.device
    recipes: Recipes
    seed: int = 0

    def __call__(
        self, assay: Assay, fold: int, method: Method, vectors: NDArray[np.float32] | None, folder: Path
    ) -> FoldResult:
        """Train on the other folds and predict this one; an interrupted training goes on from the folder.

        `vectors` are the frozen model's, one for each variant; None for LoRA.
        """
        parts = assay.parts(fold)
        (folder / state.FOLDER).mkdir(parents=True, exist_ok=True)
        if vectors is not None:
            found, steps = self._frozen(assay, parts, vectors, folder)
        else:
            found, steps = self._lora(assay, parts, folder)
        return FoldResult({MODEL: found, **baselines(assay, parts)}, steps)

    def _frozen(
        self, assay: Assay, parts: Parts, vectors: NDArray[np.float32], folder: Path
    ) -> tuple[NDArray[np.float64], int]:
        recipe = self.recipes.frozen
        training = np.sort(np.concatenate([parts.training, parts.validation]))
        target = Target("sequence", "regression").fitted(assay.values[training])
        if recipe.standardised:
            vectors = _standardised(vectors, training)
        items = [
            FeatureItem(own, np.array(value, np.float32))
            for own, value in zip(vectors, assay.values, strict=True)
        ]
        torch.manual_seed(self.seed)
        head = FitnessHead(vectors.shape[1]).to(self.device)
        loop = frozen_loop(recipe, self.seed)
        chosen = [items[number] for number in training]
        stream = Examples(chosen, self.seed, recipe.batch_size, WINDOW, "sequence")
        task = SequenceProperty(target)
        run = JudgedTraining(head, task, stream, [], loop)
        with core_threads(1) as core:  # several threads would wait for each other longer than they compute
            outcome = core.submit(run.run, folder).result()
        return _predicted(run, task, [items[number] for number in parts.test], self.device), outcome.step

    def _lora(self, assay: Assay, parts: Parts, folder: Path) -> tuple[NDArray[np.float64], int]:
        recipe = self.recipes.lora
        target = Target("sequence", "regression").fitted(assay.values[parts.training])
        loop = lora_loop(recipe, self.seed, assay, len(parts.training))
        predictor = self._adapted(recipe, loop, target)
        longest = max(map(len, assay.sequences))
        _require_positions(predictor.backbone, longest)
        alphabet = predictor.backbone.alphabet
        items = [
            Item(alphabet.indices(sequence).astype(np.uint8), np.array(value, np.float32))
            for sequence, value in zip(assay.sequences, assay.values, strict=True)
        ]
        training, held_out, test = (
            [items[number] for number in part] for part in (parts.training, parts.validation, parts.test)
        )
        # No crops: a window could leave out what was changed.
        size = recipe.batch_size // loop.accumulate
        stream = Examples(training, self.seed, size, longest, "sequence")
        task = SequenceProperty(target, alphabet=alphabet)
        run = JudgedTraining(predictor, task, stream, _batches(held_out), loop)
        prove_gradients(run)
        outcome = run.run(folder)
        return _predicted(run, task, test, self.device), outcome.step

    def _adapted(self, recipe: LoraRecipe, loop: LoopSettings, target: Target) -> Predictor:
        """The base with fresh adapters and a fresh head; the same for the same seed."""
        means = Means("lora", LoraSettings(recipe.rank, recipe.alpha, recipe.dropout))
        dtype = autocast_dtype(loop.precision, self.device)
        backbone = load_base(self.model, base_dtype(means, dtype))
        torch.manual_seed(loop.seed)
        predictor = Predictor(backbone, FitnessHead(backbone.config.width), target)
        apply_means(predictor, means, dtype)
        return predictor.to(self.device)


def frozen_loop(recipe: FrozenRecipe, seed: int) -> LoopSettings:
    """So many steps at one learning rate, after a rise; nothing is evaluated."""
    rise = max(1, round(_WARMUP_SHARE * recipe.steps))
    return LoopSettings(
        seed=seed,
        steps=recipe.steps,
        precision="fp32",
        clip_norm=_CLIP_NORM,
        log_every=recipe.steps,
        checkpoint_every=recipe.steps,
        optimizer=_OPTIMIZER,
        schedule=Schedule(recipe.learning_rate, rise, plateau_steps=recipe.steps),
    )


def lora_loop(recipe: LoraRecipe, seed: int, assay: Assay, examples: int) -> LoopSettings:
    """Up to the last step, or until the Spearman on the validation fold has not grown for some epochs."""
    epoch = max(1, ceil(examples / recipe.batch_size))
    return LoopSettings(
        seed=seed,
        steps=recipe.steps,
        accumulate=passes_of_step(recipe, max(map(len, assay.sequences))),
        clip_norm=_CLIP_NORM,
        log_every=epoch,
        evaluate_every=epoch,
        checkpoint_every=epoch,
        keep_checkpoints=1,
        best="spearman",
        patience=recipe.patience,
        optimizer=_OPTIMIZER,
        schedule=Schedule(recipe.learning_rate, max(1, round(_WARMUP_SHARE * recipe.steps))),
    )


def passes_of_step(recipe: LoraRecipe, longest: int) -> int:
    """Fewest equal parts of a batch that stay below the tokens of a pass."""
    sizes = (size for size in range(recipe.batch_size, 0, -1) if recipe.batch_size % size == 0)
    fitting = next((size for size in sizes if size * (longest + 2) <= recipe.batch_tokens), 1)
    return recipe.batch_size // fitting


def _standardised(vectors: NDArray[np.float32], training: NDArray[np.int64]) -> NDArray[np.float32]:
    known = vectors[training].astype(np.float64)
    deviation = known.std(axis=0)
    return ((vectors - known.mean(axis=0)) / np.where(deviation > 0, deviation, 1)).astype(np.float32)


def _batches(items: Sequence[Item]) -> list[list[Any]]:
    plan = plan_batches([len(item) + 2 for item in items], EVALUATION_TOKENS)
    return [[items[index] for index in batch] for batch in plan]


def _predicted(
    run: JudgedTraining, task: SequenceProperty, items: Sequence[Any], device: torch.device
) -> NDArray[np.float64]:
    """Values of the items in the unit of the measurement."""
    run.model.eval()
    found = np.empty(len(items))
    for chosen in plan_batches([len(item) + 2 for item in items], EVALUATION_TOKENS):
        with run.autocast():
            outputs = task.outputs(run.model, task.collate([items[index] for index in chosen]).to(device))
        for index, logits in zip(chosen, outputs, strict=True):
            found[index] = task.target.probabilities(logits.astype(np.float64))
    return found


def _require_positions(backbone: ESM, longest: int) -> None:
    """InputError where the model has no position for the last residue."""
    if backbone.config.positions == "learned" and longest > WINDOW:
        raise InputError(
            f"{longest:,} residues, and this model has positions for {WINDOW:,}",
            advice="Use --method frozen, which reads long proteins in windows.",
        )
