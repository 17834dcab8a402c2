"""Both sides of the fine-tuning measurements: each function builds what is timed, with every import inside."""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

Found = dict[str, Any]


def our_steps(overrides: list[str], means: str, steps: int, warm: int = 1) -> Callable[[], Found]:
    """Optimizer steps by one row of the comparison, over the same batches at each call.

    The steps before are no part of it: the optimizer's memory exists from the first one on.
    """
    from chaperonin.data.stream import Place

    training = our_training(overrides, means)
    begin = training.stream.place

    def run(count: int = steps) -> Found:
        import torch

        from chaperonin.training.tensor_memory import peak_held_bytes

        training.stream.place = Place(*begin)
        losses = []
        for _ in range(count):
            targets, sums = training.step()
            losses.append(float(sums["loss"]) / targets)
        return {
            "loss": losses[0],
            "peak_bytes": peak_held_bytes(torch.device("cpu")),
            "tokens": training.progress.tokens,
        }

    if warm:
        run(warm)
    return run


def their_steps(overrides: list[str], steps: int, folder: str) -> Callable[[], Found]:
    """The same batches by transformers' Trainer: padded to the longest of a batch, from the same weights."""
    import torch
    import transformers
    from torch.utils.data import SequentialSampler

    from chaperonin.tasks.calibration import Calibration
    from chaperonin.tasks.folder import Base, save_trained

    training = our_training(overrides, "base")
    save_trained(Path(folder), training.model, Base("base", ""), Calibration(), None, method="full")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    model = transformers.EsmForSequenceClassification.from_pretrained(folder)
    tokenizer = transformers.EsmTokenizer(str(Path(folder) / "vocab.txt"))
    items = [item for _ in range(steps) for item in next(training.stream)]
    examples = [
        {"input_ids": ids, "attention_mask": [1] * len(ids), "labels": int(item.target)}
        for item in items
        for ids in [[tokenizer.cls_token_id, *item.tokens.tolist(), tokenizer.eos_token_id]]
    ]
    rate = training.settings.schedule.rate(0, training.settings.steps)
    arguments = transformers.TrainingArguments(
        output_dir=str(Path(folder) / "trainer"),
        per_device_train_batch_size=len(items) // steps,
        num_train_epochs=1,
        learning_rate=rate,
        lr_scheduler_type="constant",
        weight_decay=training.settings.optimizer.weight_decay,
        adam_beta2=training.settings.optimizer.betas[1],
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
    )

    class InOrder(transformers.Trainer):  # type: ignore[misc]  # the stubs know it as Any
        """The batches as they come, to compare the same ones."""

        def _get_train_sampler(self, *_: Any) -> Any:
            return SequentialSampler(examples)  # type: ignore[arg-type]

    def run() -> Found:
        collate = transformers.DataCollatorWithPadding(tokenizer)
        trainer = InOrder(model=model, args=arguments, train_dataset=examples, data_collator=collate)
        trainer.remove_callback(transformers.PrinterCallback)
        trainer.train()
        return {"loss": trainer.state.log_history[0]["loss"], "threads": torch.get_num_threads()}

    return run


def cached_epochs(overrides: list[str]) -> Callable[[], Found]:
    """A whole fine-tuning of the head on a frozen base, from loading the model to the last epoch.

    `losses` are those that its settings log.
    """
    from chaperonin.kernels.hardware import choose_device
    from chaperonin.training.finetune import learn
    from chaperonin.training.tracking import FILE_NAME, read_metrics

    settings, material = _material(overrides, "frozen")

    def run() -> Found:
        folder = Path(tempfile.mkdtemp())
        try:
            learned = learn(settings, material, material.splits[0], folder, choose_device("cpu"))
            lines = list(read_metrics(folder / FILE_NAME))
        finally:
            shutil.rmtree(folder)
        losses = [line["loss"] for line in lines if line["event"] == "train"]
        return {"steps": learned.outcome.step, "losses": losses}

    return run


def backbone_epoch(overrides: list[str]) -> Callable[[], Found]:
    """One epoch of the same training that runs the frozen base on every batch, and its evaluation."""
    training = our_training(overrides, "frozen")
    epoch = training.settings.evaluate_every

    def run() -> Found:
        for _ in range(epoch):
            training.step()
        return {"steps": epoch, "loss": training.evaluate()["loss"]}

    return run


def our_training(overrides: list[str], means: str) -> Any:
    """The run of one row of the comparison, before its first step."""
    from chaperonin.kernels.hardware import choose_device
    from chaperonin.training.finetune import new_predictor, new_training
    from chaperonin.training.finetune_settings import planned

    settings, material = _material(overrides, means)
    parts = material.splits[0]
    loop = planned(settings, len(parts.training))
    predictor = new_predictor(settings, material, loop, choose_device("cpu"))
    return new_training(settings, material, parts, predictor)


def _material(overrides: list[str], means: str) -> tuple[Any, Any]:
    from chaperonin.config import resolve
    from chaperonin.training.comparison import ROWS
    from chaperonin.training.finetune_settings import FineTuning
    from chaperonin.training.material import read_material

    given = resolve(FineTuning, overrides=overrides)
    material = read_material(given.data, given.split, given.task, given.kind, given.classes)
    return ROWS[means].settings(given), material
