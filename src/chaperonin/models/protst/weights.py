"""Names of ProtST's tensors in published checkpoints, and what their `config.json` says.

`huggingface` is the layout of mila-intel/ProtST-esm1b and of its fine-tuned sibling, `torchdrug` that of the authors'
own `.pth` files. The towers keep the names of ESM and of BERT behind a prefix of their own.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from chaperonin.errors import WeightsError
from chaperonin.models import layout_of
from chaperonin.models.protst.model import ProtST, ProtSTConfig
from chaperonin.models.protst.text import build_text_tower
from chaperonin.weights.pretrained import Layout
from chaperonin.weights.rules import Drop, Rename, Rule, Shared, Table, Tied

ENCODER = "esm"
"""Type of the protein tower."""
_BERT_LAYER = {
    "attention.self.query": "",
    "attention.self.key": "",
    "attention.self.value": "",
    "attention.output.dense": "",
    "intermediate.dense": "",
    "output.dense": "",
    "attention.output.LayerNorm": "norm",
    "output.LayerNorm": "norm",
}
_OPTIONAL = {
    "text.": "text",
    "text_projection.": "text_projection",
    "word_projection.": "word_projection",
    "masked_word.": "masked_word",
    "protein_projection.": "protein_projection",
    "residue_projection.": "residue_projection",
    "masked_residue.": "masked_residue",
    "fused_residue.": "fused_residue",
    "fusion.": "fusion",
    "classifier.": "classifier",
    "log_scale": "log_scale",
}
"""Beginnings of names that a checkpoint may lack → the part that is None then."""


def _both(theirs: str, ours: str, also: tuple[str, ...] = ()) -> list[Rule]:
    return [
        Rename(f"{theirs}.{part}", f"{ours}.{part}", also=tuple(f"{name}.{part}" for name in also))
        for part in ("weight", "bias")
    ]


_SPELLINGS = (("dense", "out_proj"), ("layers.0", "layers.1"))
"""How the two linear layers of a projection are called by transformers' users, and by torchdrug."""


def _projection(theirs: str, ours: str, also: tuple[str, ...] = (), spelling: int = 0) -> list[Rule]:
    """A projection under any of its names, in both spellings; the first name in the given spelling is written."""
    order = (_SPELLINGS[spelling], _SPELLINGS[1 - spelling])
    found: list[Rule] = []
    for number, part in enumerate(("dense", "out")):
        names = [f"{name}.{spelled[number]}" for spelled in order for name in (theirs, *also)]
        found += _both(names[0], f"{ours}.{part}", tuple(names[1:]))
    return found


def _protein(origin: str, prefix: str) -> list[Rule]:
    """The encoder's own rules, behind a prefix; `esm.` may be missing in theirs."""
    table = layout_of(ENCODER).tables[origin]
    return [_behind(rule, prefix, table.prefixes) for rule in table.rules]


def _behind(rule: Rule, prefix: str, droppable: tuple[str, ...]) -> Rule:
    theirs = f"{prefix}{rule.theirs}"
    if isinstance(rule, Drop):
        return replace(rule, theirs=theirs)
    if isinstance(rule, Tied):
        return replace(rule, theirs=theirs, ours=f"protein.{rule.ours}")
    assert isinstance(rule, Rename | Shared)
    spellings = (rule.theirs, *rule.also)
    shorter = [
        name.removeprefix(start) for name in spellings for start in droppable if name.startswith(start)
    ]
    also = tuple(f"{prefix}{name}" for name in (*rule.also, *shorter))
    return replace(rule, theirs=theirs, ours=f"protein.{rule.ours}", also=also)


def _text(prefix: str) -> Iterator[Rule]:
    """BERT's names behind a prefix; older files call the parts of a layer norm gamma and beta."""
    for name in ("word", "position", "token_type"):
        own = f"embeddings.{name}_embeddings.weight"
        yield Rename(f"{prefix}{own}", f"text.{own}")
    norms = ["embeddings.LayerNorm"]
    for name, kind in _BERT_LAYER.items():
        if kind:
            norms.append(f"encoder.layer.{{}}.{name}")
        else:
            yield from _both(f"{prefix}encoder.layer.{{}}.{name}", f"text.encoder.layer.{{}}.{name}")
    for name in norms:
        yield Rename(f"{prefix}{name}.weight", f"text.{name}.weight", also=(f"{prefix}{name}.gamma",))
        yield Rename(f"{prefix}{name}.bias", f"text.{name}.bias", also=(f"{prefix}{name}.beta",))
    yield Drop(f"{prefix}embeddings.position_ids", why="0, 1, 2 …")
    for part in ("weight", "bias"):
        yield Drop(f"{prefix}pooler.dense.{part}", why="ProtST takes the mean over words")


def _pretraining() -> Iterator[Rule]:
    """The parts that only pre-training uses; their one published layout is that of the authors."""
    for ours, number in (("protein", 1), ("text", 2)):
        for part in ("query", "key", "value"):
            theirs = f"fusion_model.layers.{{}}.{part}{number}.weight"
            yield Rename(theirs, f"fusion.layers.{{}}.{ours}.{part}.weight")
        theirs = f"fusion_model.{ours}_batch_norm_layers.{{}}"
        own = {"weight": "weight", "bias": "bias", "running_mean": "mean", "running_var": "variance"}
        for name, our_name in own.items():
            yield Rename(f"{theirs}.{name}", f"fusion.{ours}_norms.{{}}.{our_name}")
        yield Drop(f"{theirs}.num_batches_tracked", why="only counts")
    for theirs, head in (
        ("mlm", "masked_residue"),
        ("mmp_protein", "fused_residue"),
        ("mmp_text", "masked_word"),
    ):
        for number, part in enumerate(("dense", "out")):
            yield from _both(f"{theirs}_head.layers.{number}", f"{head}.{part}")


HUGGING_FACE = Table(
    rules=(
        *_protein("huggingface", "protein_model."),
        *_projection("protein_model.protein_mlp", "protein_projection", ("protein_model.graph_mlp",)),
        *_projection("protein_model.residue_mlp", "residue_projection"),
        *_text("text_model.bert."),
        *_projection("text_model.text_mlp", "text_projection"),
        *_projection("text_model.word_mlp", "word_projection"),
        *_projection("classifier", "classifier"),
        *_pretraining(),
        Rename("logit_scale", "log_scale"),
    ),
    optional=(*_OPTIONAL, "protein.contact.", "protein.masked_language.", "protein.rotary_frequencies"),
)
TORCHDRUG = Table(
    rules=(
        *_protein("fair-esm", "protein_model.model."),
        *_projection("protein_model.graph_mlp", "protein_projection", spelling=1),
        *_projection("protein_model.residue_mlp", "residue_projection", spelling=1),
        Drop("protein_model.mapping", why="torchdrug's numbers of residues to those of ESM"),
        *_text("text_model.model.bert."),
        *_projection("text_model.text_mlp", "text_projection", spelling=1),
        *_projection("text_model.word_mlp", "word_projection", spelling=1),
        *(
            Drop(f"text_model.model.cls.predictions.{name}", why="BERT's own head, which ProtST never runs")
            for name in (
                "bias",
                *(f"{part}.{of}" for part in ("decoder", "transform.dense", "transform.LayerNorm")
                  for of in ("weight", "bias")),
            )
        ),
        *_projection("mlp", "classifier", spelling=1),
        *_pretraining(),
        Rename("logit_scale", "log_scale"),
    ),
    optional=HUGGING_FACE.optional,
)  # fmt: skip


def read_config(config: Mapping[str, Any], where: str) -> ProtSTConfig:
    """Sizes that a `config.json` describes."""
    protein = config.get("protein_config")
    if not isinstance(protein, Mapping):
        raise WeightsError("config.json lacks protein_config", where=where)
    if protein.get("model_type", ENCODER) != ENCODER:
        raise WeightsError(f"a protein tower of type {protein['model_type']!r} is not known", where=where)
    text = config.get("text_config")
    if text is not None and not (isinstance(text, Mapping) and {"hidden_size", "vocab_size"} <= set(text)):
        raise WeightsError("text_config is no configuration of a BERT", where=where)
    tells = any(
        "Classification" in name or "Prediction" in name for name in config.get("architectures") or ()
    )
    return ProtSTConfig(
        protein=layout_of(ENCODER).read_config(protein, where),
        text=None if text is None else {name: value for name, value in text.items() if name != "model_type"},
        width=config.get("projection_dim", ProtSTConfig.width),
        fusion_heads=config.get("fusion_heads", ProtSTConfig.fusion_heads),
        fusion_depth=config.get("fusion_layers", ProtSTConfig.fusion_depth),
        labels=_labels(config) if tells else (),
    )


def _labels(config: Mapping[str, Any]) -> tuple[str, ...]:
    """transformers leaves out what is its default: two labels, called LABEL_0 and LABEL_1."""
    named = config.get("id2label")
    if isinstance(named, Mapping) and named:
        return tuple(str(named[number]) for number in sorted(named, key=int))
    return tuple(f"LABEL_{number}" for number in range(int(config.get("num_labels", 2))))


def write_config(config: ProtSTConfig) -> dict[str, Any]:
    """The `config.json` of the same model."""
    architecture = "ProtSTForProteinPropertyPrediction" if config.labels else "ProtSTModel"
    text = {} if config.text is None else {"text_config": {"model_type": "bert", **config.text}}
    labels = {"id2label": {str(n): label for n, label in enumerate(config.labels)}} if config.labels else {}
    return {
        "architectures": [architecture],
        "model_type": "protst",
        "protein_config": layout_of(ENCODER).write_config(config.protein),
        **text,
        "projection_dim": config.width,
        "fusion_heads": config.fusion_heads,
        "fusion_layers": config.fusion_depth,
        **labels,
    }


def build(config: ProtSTConfig) -> ProtST:
    """A ProtST of these sizes with fresh weights."""
    text = None if config.text is None else build_text_tower(config.text)
    return ProtST(config, layout_of(ENCODER).build(config.protein), text)


def _defaults(config: ProtSTConfig) -> dict[str, Tensor]:
    return {f"protein.{name}": tensor for name, tensor in layout_of(ENCODER).defaults(config.protein).items()}


LAYOUT = Layout(
    build=build,
    read_config=read_config,
    write_config=write_config,
    tables={"huggingface": HUGGING_FACE, "torchdrug": TORCHDRUG},
    defaults=_defaults,
    heads={
        **_OPTIONAL,
        **{f"protein.{start}": f"protein.{name}" for start, name in layout_of(ENCODER).heads.items()},
    },
)
