"""ProtST as published, written down a second time: towers of transformers, heads and fusion by the formulas.

Random tensors everywhere, also where training begins with zeros or ones.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import BertConfig, BertModel, EsmConfig, EsmModel

CLS, SEP, PAD = 2, 3, 0
"""Numbers in the vocabulary of PubMedBERT."""


@dataclass
class Published:
    """Parts by their published names."""

    esm: EsmModel
    bert: BertModel
    heads: dict[str, Tensor]

    def config(self) -> dict:
        """What the published config.json says."""
        esm = self.esm.config.to_dict() | {"model_type": "esm"}
        bert = self.bert.config.to_dict() | {"model_type": "bert"}
        return {
            "model_type": "protst",
            "architectures": ["ProtSTModel"],
            "protein_config": esm,
            "text_config": bert,
        }

    def huggingface(self) -> dict[str, Tensor]:
        """The checkpoint in the layout of mila-intel/ProtST-esm1b."""
        esm = {f"protein_model.esm.{name}": value for name, value in self.esm.state_dict().items()}
        bert = {f"text_model.bert.{name}": value for name, value in self.bert.state_dict().items()}
        return esm | bert | {name: value for name, value in self.heads.items() if name.split(".")[0] in _HUB}

    def perceptron(self, name: str, x: Tensor) -> Tensor:
        """Two linear layers with a ReLU between them."""
        first, second = (
            ("dense", "out_proj") if f"{name}.dense.weight" in self.heads else ("layers.0", "layers.1")
        )
        hidden = nn.functional.linear(
            x, self.heads[f"{name}.{first}.weight"], self.heads[f"{name}.{first}.bias"]
        ).relu()
        return nn.functional.linear(
            hidden, self.heads[f"{name}.{second}.weight"], self.heads[f"{name}.{second}.bias"]
        )

    def protein(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Protein and residue features of one protein, its ends among the tokens."""
        residues = self.esm(tokens[None], torch.ones_like(tokens[None])).last_hidden_state[0, 1:-1]
        return (
            self.perceptron("protein_model.protein_mlp", residues.mean(0)),
            self.perceptron("protein_model.residue_mlp", residues),
        )

    def text(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Text features and word features of padded texts."""
        hidden = self.bert(tokens, attention_mask=(tokens != PAD).long()).last_hidden_state
        words = ((tokens != CLS) & (tokens != SEP) & (tokens != PAD)).float()[..., None]
        means = (hidden * words).sum(1) / (words.sum(1) + 1e-6)
        return self.perceptron("text_model.text_mlp", means), self.perceptron("text_model.word_mlp", hidden)

    def fusion(self, residues: list[Tensor], words: Tensor, is_token: Tensor) -> tuple[list[Tensor], Tensor]:
        """Fused residues and words, padded as in the published code."""
        lengths = [len(own) for own in residues]
        x = nn.utils.rnn.pad_sequence(residues, batch_first=True)
        is_residue = torch.arange(x.shape[1]) < torch.tensor(lengths)[:, None]
        sides = ((x, is_residue, 1), (words, is_token, 2))
        fused = [self._fused(*side, sides) for side in sides]
        return [own[:length] for own, length in zip(fused[0], lengths, strict=True)], fused[1]

    def _fused(self, x: Tensor, mask: Tensor, number: int, sides: tuple) -> Tensor:
        query = self._heads(x, f"query{number}")
        total = torch.zeros_like(x)
        for other, other_mask, other_number in sides:
            scores = torch.einsum("blhd,bkhd->blkh", query, self._heads(other, f"key{other_number}"))
            both = mask[:, :, None, None] & other_mask[:, None, :, None]
            weights = torch.where(both, scores, scores - 1e6).softmax(2)
            weights = torch.where(mask[:, :, None, None], weights, torch.zeros_like(weights))
            values = self._heads(other, f"value{other_number}")
            total = total + torch.einsum("blkh,bkhd->blhd", weights, values).flatten(-2)
        side = ("protein", "text")[number - 1]
        norm = {
            name: self.heads[f"fusion_model.{side}_batch_norm_layers.0.{name}"]
            for name in ("running_mean", "running_var", "weight", "bias")
        }
        return nn.functional.batch_norm(total.transpose(1, 2) / 2, **norm).transpose(1, 2).relu()

    def _heads(self, x: Tensor, name: str) -> Tensor:
        return nn.functional.linear(x, self.heads[f"fusion_model.layers.0.{name}.weight"]).unflatten(
            -1, (8, -1)
        )


_HUB = ("protein_model", "text_model", "logit_scale")


def published(
    width: int = 40, depth: int = 2, learned: bool = True, space: int = 32, seed: int = 0
) -> Published:
    """A small one, with ESM-1b's learned positions or ESM-2's rotary ones."""
    torch.manual_seed(seed)
    esm = EsmConfig(
        vocab_size=33, mask_token_id=32, pad_token_id=1, hidden_size=width, num_hidden_layers=depth,
        num_attention_heads=4, intermediate_size=2 * width, max_position_embeddings=1026,
        position_embedding_type="absolute" if learned else "rotary", emb_layer_norm_before=learned,
        token_dropout=True, layer_norm_eps=1e-5, attn_implementation="eager",
    )  # fmt: skip
    bert = BertConfig(
        vocab_size=300, hidden_size=128, num_hidden_layers=2, num_attention_heads=2, intermediate_size=48,
        max_position_embeddings=128, attn_implementation="eager",
    )  # fmt: skip
    model = Published(
        EsmModel(esm, add_pooling_layer=False).eval(), BertModel(bert, add_pooling_layer=False).eval(), {}
    )
    for name, inputs, outputs in (
        ("protein_model.protein_mlp", width, space),
        ("protein_model.residue_mlp", width, space),
        ("text_model.text_mlp", 128, space),
        ("text_model.word_mlp", 128, space),
    ):
        model.heads |= perceptron(name, inputs, outputs, ("dense", "out_proj"))
    for name, outputs in (("mlm_head", 20), ("mmp_protein_head", 20), ("mmp_text_head", 300)):
        model.heads |= perceptron(name, space, outputs, ("layers.0", "layers.1"))
    for part in ("query", "key", "value"):
        for number in (1, 2):
            model.heads[f"fusion_model.layers.0.{part}{number}.weight"] = torch.randn(space, space) * 0.3
    for side in ("protein", "text"):
        own = f"fusion_model.{side}_batch_norm_layers.0"
        for name in ("weight", "bias", "running_mean"):
            model.heads[f"{own}.{name}"] = torch.randn(space)
        model.heads[f"{own}.running_var"] = torch.rand(space) + 0.5
        model.heads[f"{own}.num_batches_tracked"] = torch.tensor(7)
    model.heads["logit_scale"] = torch.tensor(1.3)
    for parameter in (*model.esm.parameters(), *model.bert.parameters()):
        parameter.requires_grad_(False)
        parameter += 0.2 * torch.randn_like(parameter) * parameter.shape[-1] ** -0.5
    return model


def perceptron(name: str, inputs: int, outputs: int, parts: tuple[str, str]) -> dict[str, Tensor]:
    """Random tensors of a projection."""
    found = {}
    for part, size in zip(parts, (inputs, outputs), strict=True):
        found[f"{name}.{part}.weight"] = torch.randn(size, inputs) * inputs**-0.5
        found[f"{name}.{part}.bias"] = torch.randn(size)
    return found
