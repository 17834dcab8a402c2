"""The model card: what a trained model predicts, how well, how far it is to be trusted, and how it is used."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chaperonin.tasks.target import Target

_HUB_METRICS = {
    "accuracy": "accuracy",
    "mcc": "matthews_correlation",
    "f1": "f1",
    "f1_macro": "f1",
    "auc": "roc_auc",
    "rmse": "mse",
    "spearman": "spearmanr",
    "pearson": "pearsonr",
}
"""Our metrics → Hugging Face's."""
_PIPELINES = {"sequence": "text-classification", "residue": "token-classification", "pairs": "other"}
_MOST_ROWS, _MOST_CLASSES = 12, 30


def model_card(
    name: str,
    target: "Target",
    method: str,
    base: str,
    metrics: Mapping[str, Any],
    data: str = "",
    opens_as: str = "AutoModelForMaskedLM",
    head: Mapping[str, str] | None = None,
) -> str:
    """README.md of a model directory, with the header that the hub reads.

    metrics: what metrics.json says, as far as there is any; data: the training data in words; opens_as: the class of
    transformers that opens the model, empty where there is none; head: its pooling and hidden layer.
    """
    parts = [
        _header(target, method, base, metrics, "esm" if opens_as else "fm4bio"),
        f"# {name}\n\n{_what(target)} {_how(method, base)}",
        _training(metrics, data),
        _figures(target, metrics),
        _calibration(target, metrics),
        _limits(target, metrics),
        _use(name, target, method, base, opens_as, head or {}),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _header(target: "Target", method: str, base: str, metrics: Mapping[str, Any], family: str) -> str:
    import yaml

    library = {"lora": "peft", "full": "transformers"}.get(method, "chaperonin")
    known = [_HUB_METRICS[metric] for metric in metrics.get("result", {}) if metric in _HUB_METRICS]
    header = {
        "base_model": base,
        "library_name": library,
        "pipeline_tag": _PIPELINES[target.level],
        "tags": ["protein", family, "chaperonin", *(["lora"] if method == "lora" else [])],
        "metrics": sorted(set(known)),
    }
    return f"---\n{yaml.safe_dump(header, sort_keys=False)}---"


def _what(target: "Target") -> str:
    of = {"sequence": "a protein", "residue": "each residue of a protein", "pairs": "each pair of residues"}
    subject = of[target.level]
    if target.kind == "regression":
        return f"Predicts a value of {subject}."
    names = ", ".join(f"`{name}`" for name in target.classes[:_MOST_CLASSES])
    more = len(target.classes) - _MOST_CLASSES
    names += f" and {more} more" if more > 0 else ""
    which = "which of these hold" if target.kind == "multilabel" else "which of these it is"
    return f"Predicts of {subject} {which}: {names}."


def _how(method: str, base: str) -> str:
    return {
        "lora": f"A LoRA adapter and a head on `{base}`.",
        "full": f"All weights of `{base}` were trained, and a head.",
        "frozen": f"A head on `{base}`, whose weights are as they were.",
    }[method]


def _training(metrics: Mapping[str, Any], data: str) -> str:
    rows = [("data", data)] if data else []
    parts = metrics.get("parts", {})
    if parts:
        rows.append(("proteins", ", ".join(f"{count:,} {name}" for name, count in parts.items())))
    if split := metrics.get("split"):
        rows.append(("split", str(split)))
    if "leaks" in metrics:
        leaks = metrics["leaks"]
        rows.append(("leak check", f"{leaks or 'no'} sequences with a near-identical one in another part"))
    cost = metrics.get("cost", {})
    if cost.get("means"):
        rows.append(("means", str(cost["means"])))
    if cost.get("trainable_parameters"):
        rows.append(("trained parameters", f"{cost['trainable_parameters']:,}"))
    if cost.get("seconds"):
        rows.append(("training time", f"{cost['seconds']:,.0f} s"))
    if not rows:
        return ""
    return "## Training\n\n| | |\n|---|---|\n" + "\n".join(f"| {key} | {_cell(text)} |" for key, text in rows)


def _figures(target: "Target", metrics: Mapping[str, Any]) -> str:
    from chaperonin.tasks.metrics import RANKED

    result = metrics.get("result") or {}
    if not result:
        return ""
    baselines = metrics.get("baselines") or {}
    lines = [
        "| | this model | " + " | ".join(map(_cell, baselines)) + " |" if baselines else "| | this model |",
        "|---|---" + "|---" * len(baselines) + "|",
    ]
    for metric in names_of_all(result, target.classes)[:_MOST_ROWS]:
        cells = [figure(result[metric]), *(figure(own.get(metric)) for own in baselines.values())]
        lines.append(f"| {metric} | **{cells[0]}** | " + " | ".join(cells[1:]) + (" |" if baselines else ""))
    tested = metrics.get("parts", {}).get("test")
    on = f" on {tested:,} test proteins" if tested else ""
    words = f"Measured{on}; in brackets 95 % intervals from resampling the proteins."
    ranked = [name for name in RANKED if name in result]
    if ranked and str(metrics.get("split")).endswith("folds"):
        words += f" Each fold has a model of its own, so {' and '.join(ranked)} are means over the folds."
    return "## Figures\n\n" + words + "\n\n" + "\n".join(line.rstrip() for line in lines)


def names_of_all(result: Mapping[str, Any], classes: Sequence[Any]) -> list[str]:
    """Names of the figures that are about all classes together: `f1`, not `f1/M`."""
    single = {f"/{name}" for name in classes}
    return [str(name) for name in result if f"/{str(name).partition('/')[2]}" not in single]


def figure(value: Any) -> str:
    """`0.912 (0.893 to 0.930)` of a metric with its interval, as metrics.json holds it."""
    if value is None:
        return ""
    if not isinstance(value, Mapping):
        return f"{value:.3f}"
    if value.get("value") is None:
        return ""
    text = f"{value['value']:.3f}"
    if value.get("low") is not None and value.get("high") is not None:
        text += f" ({value['low']:.3f} to {value['high']:.3f})"
    return text


def _calibration(target: "Target", metrics: Mapping[str, Any]) -> str:
    found = metrics.get("calibration") or {}
    if target.kind == "regression":
        if found.get("interval") is None:
            return ""
        return f"## Calibration\n\nNine of ten true values lie within ± {found['interval']:.4g} of the prediction."
    if found.get("ece_after") is None:
        return ""
    heat = found.get("temperature")
    heats = f"{heat:.3g}" if isinstance(heat, int | float) else "one for each class"
    return (
        "## Calibration\n\nProbabilities are divided out with a temperature fitted on the validation part "
        f"({heats}). Expected calibration error there: {found['ece_before']:.3f} before, "
        f"{found['ece_after']:.3f} after."
    )


def _limits(target: "Target", metrics: Mapping[str, Any]) -> str:
    trained = metrics.get("parts", {}).get("training")
    seen = f"It has seen {trained:,} proteins. " if trained else ""
    lines = [
        f"- {seen}Proteins unlike those are marked `in_domain = false`; their predictions are guesses. The mark sees "
        "what is strange to the base model (repeats, odd composition); a likeness in it is no proof of a right answer.",
        "- Above 1,022 residues a protein is read in overlapping windows.",
    ]
    if target.kind != "regression":
        lines.append(
            "- Probabilities hold for proteins mixed as in the validation part; other shares of the classes shift them."
        )
    return "## Limits\n\n" + "\n".join(lines)


def _use(name: str, target: "Target", method: str, base: str, opens_as: str, head: Mapping[str, str]) -> str:
    text = (
        "## Use\n\n```sh\n"
        f"chaperonin predict proteins.fasta out --model path/to/{name}\n"
        f"chaperonin serve path/to/{name}\n```"
    )
    if not opens_as:
        return text
    classes = "" if opens_as == "AutoModelForMaskedLM" else f", num_labels={max(1, len(target.classes))}"
    if classes and target.kind == "regression":
        classes += ', problem_type="regression"'
    opening = {
        "lora": f'base = {opens_as}.from_pretrained("{_place(base)}"{classes})\n'
        f'model = PeftModel.from_pretrained(base, "path/to/{name}")\n',
        "full": f'model = {opens_as}.from_pretrained("path/to/{name}")\n',
    }.get(method)
    if opening:
        peft = "from peft import PeftModel\n" if method == "lora" else ""
        if classes:
            text += f"\n\n```python\n{peft}from transformers import {opens_as}\n\n{opening}```"
        else:
            rest = _plain_head(name, target, head)
            imports = f"import torch\n{peft}from safetensors.torch import load_file\n"
            imports += f"from transformers import {opens_as}, EsmTokenizer\n"
            text += "\n\nThe loaders of transformers and PEFT open the encoder. They have no such head, so that its "
            text += f"logits are computed beside it:\n\n```python\n{imports}\n{opening}{rest}```"
    return text


def _place(base: str) -> str:
    """What transformers finds the base by: bundled ones are on no hub."""
    owner, _, model = base.partition("/")
    return f"site-packages/chaperonin/pretrained/{model}" if owner == "chaperonin" and model else base


def _plain_head(name: str, target: "Target", head: Mapping[str, str]) -> str:
    """Lines of Python that give the logits of one protein, not yet calibrated, from the encoder `model`."""
    lines = [
        f'head = load_file("path/to/{name}/head.safetensors")',
        f'tokens = EsmTokenizer.from_pretrained("path/to/{name}")("SEQUENCE", return_tensors="pt")',
        "with torch.inference_mode():",
        "    hidden = model.eval()(**tokens, output_hidden_states=True).hidden_states[-1][0]",
    ]
    if target.level == "pairs":
        lines += [
            "rows = hidden[1:-1]",
            "pairs = torch.cat(torch.broadcast_tensors(rows[:, None], rows[None]), dim=-1)",
            'inner = (pairs @ head["dense.weight"].T + head["dense.bias"]).relu()',
            'one_way = (inner @ head["out_proj.weight"].T + head["out_proj.bias"])[..., 0]',
            "logits = (one_way + one_way.T) / 2",
        ]
        return "\n".join(lines) + "\n"
    if target.level == "residue":
        read, last = "hidden[1:-1]", "classifier"
    else:
        read = "hidden[0]" if head.get("pooling") == "cls" else "hidden[1:-1].mean(dim=0)"
        last = "out_proj"
    lines.append(f"rows = {read}")
    if (hidden := head.get("hidden", "none")) != "none":
        lines.append(f'rows = torch.{hidden}(rows @ head["dense.weight"].T + head["dense.bias"])')
    lines.append(f'logits = rows @ head["{last}.weight"].T + head["{last}.bias"]')
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return str(text).replace("|", "\\|").replace("\n", " ")
