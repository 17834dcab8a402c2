"""LoRA on a mixture of experts: in place, learning in every expert, in PEFT's files, merged; on bytes too."""

import copy
import json
from pathlib import Path

import peft
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from chaperonin.adapt.lora import (
    LoraSettings,
    add_lora,
    collect,
    merge,
    read_adapter,
    require_gradients,
    write_adapter,
)
from chaperonin.adapt.quantize import quantize_for_training
from chaperonin.errors import UsageError, WeightsError
from chaperonin.kernels.segments import Segments
from chaperonin.models.aido import AIDO, AIDOConfig
from chaperonin.models.aido.weights import LAYOUT
from chaperonin.parallel.recompute import recompute

SEGMENTS = Segments([30, 21, 9])
TARGETS = ("q", "k", "v", "out", "experts", "router")
EXPERTS = 3


@pytest.fixture
def model() -> AIDO:
    torch.manual_seed(0)
    model = AIDO(AIDOConfig(width=16, depth=2, heads=2, inner_width=24, experts=EXPERTS))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def logits(model: AIDO) -> Tensor:
    tokens = torch.randint(1, 27, (SEGMENTS.total,), generator=torch.Generator().manual_seed(1))
    return model.lm_head(model(tokens, SEGMENTS))


def learn(model: AIDO, steps: int = 3) -> AIDO:
    """Some steps downhill: no B is zero after the first, no A as it was drawn after the second."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for _ in range(steps):
        model.zero_grad()
        logits(model).square().mean().backward()
        with torch.no_grad():
            for parameter in trained:
                parameter -= 0.05 * parameter.grad
    return model


def test_it_begins_as_the_model_and_every_adapter_of_every_expert_learns(model: AIDO) -> None:
    before = logits(model)
    add_lora(model, LoraSettings(rank=4, alpha=8, targets=TARGETS))
    torch.testing.assert_close(logits(model), before, atol=1e-6, rtol=0)
    require_gradients(model, logits(model).square().mean())
    learn(model)
    adapter = collect(model)
    assert len(adapter.tensors) == 2 * (4 + 1 + 2 * EXPERTS)
    assert adapter.targets == TARGETS and adapter.model_type == "fm4bio"
    assert all(up.any(dim=0).all() for _, up in adapter.tensors.values())  # each of the four channels of each
    frozen = [name for name, own in model.named_parameters() if not own.requires_grad]
    assert any("experts.up.base_layer.weight" in name for name in frozen)
    trained = {name.rsplit(".", 1)[-1] for name, own in model.named_parameters() if own.requires_grad}
    assert trained == {"weight", "down", "up"}


@pytest.mark.parametrize("targets", [TARGETS, ("experts",), ("q", "v"), ("ffn",)])
def test_merged_is_the_model_with_its_adapter(model: AIDO, targets: tuple[str, ...], tmp_path: Path) -> None:
    plain = copy.deepcopy(model)
    add_lora(model, LoraSettings(rank=2, alpha=6, targets=targets))
    adapter = collect(learn(model))
    write_adapter(tmp_path, adapter, "genbio-ai/AIDO.Protein-16B")
    merge(plain, read_adapter(tmp_path))
    torch.testing.assert_close(logits(plain), logits(model), atol=1e-5, rtol=1e-5)


def test_files_have_the_names_that_peft_gives_the_published_model(model: AIDO, tmp_path: Path) -> None:
    add_lora(model, LoraSettings(rank=2, targets=("q", "router", "experts")))
    write_adapter(tmp_path, collect(learn(model)), "genbio-ai/AIDO.Protein-16B")
    stored = load_file(tmp_path / "adapter_model.safetensors")
    layer = "base_model.model.bert.encoder.layer.1"
    assert stored[f"{layer}.mlp.dense_h_to_4h_2.lora_A.weight"].shape == (2, 16)
    assert stored[f"{layer}.mlp.dense_h_to_4h_2.lora_B.weight"].shape == (48, 2)
    assert stored[f"{layer}.mlp.dense_4h_to_h_0.lora_A.weight"].shape == (2, 24)
    assert f"{layer}.mlp.router.lora_A.weight" in stored
    assert f"{layer}.attention.self.query.lora_B.weight" in stored
    names = json.loads((tmp_path / "adapter_config.json").read_text())["target_modules"]
    assert "bert.encoder.layer.0.mlp.dense_4h_to_h_1" in names


def test_peft_loads_the_files_into_a_module_of_the_published_layout(model: AIDO, tmp_path: Path) -> None:
    published = module_of(LAYOUT.tables["huggingface"].write(dict(model.named_parameters())))
    plain = copy.deepcopy(model)
    add_lora(model, LoraSettings(rank=2, alpha=6, targets=TARGETS))
    adapter = collect(learn(model))
    write_adapter(tmp_path, adapter, "genbio-ai/AIDO.Protein-16B")
    merge(plain, adapter)
    theirs = peft.PeftModel.from_pretrained(published, tmp_path).merge_and_unload().state_dict()
    for name, tensor in LAYOUT.tables["huggingface"].write(dict(plain.named_parameters())).items():
        torch.testing.assert_close(theirs[name], tensor, atol=1e-6, rtol=1e-5, msg=name)


def module_of(named: dict[str, Tensor]) -> nn.Module:
    """Linear layers where a matrix has a published name, parameters elsewhere."""
    root = nn.Module()
    for name, tensor in named.items():
        *path, leaf = name.split(".")
        owner = root
        for number, part in enumerate(path):
            if not hasattr(owner, part):
                is_layer = number == len(path) - 1 and f"{'.'.join(path)}.weight" in named
                matrix = named.get(f"{'.'.join(path)}.weight", tensor)
                bias = f"{'.'.join(path)}.bias" in named
                linear = is_layer and matrix.ndim == 2
                made = nn.Linear(matrix.shape[1], matrix.shape[0], bias) if linear else nn.Module()
                owner.add_module(part, made)
            owner = getattr(owner, part)
        setattr(owner, leaf, nn.Parameter(tensor.detach().clone()))
    return root


def test_adapters_learn_on_bytes_as_on_what_the_bytes_stand_for(model: AIDO, no_byte_products: None) -> None:
    # Where bytes are multiplied the rows are rounded too, and a token may go to another expert.
    rounded = quantize_for_training(copy.deepcopy(model))
    for name, module in list(model.named_modules()):
        own = dict(rounded.named_modules())[name]
        if hasattr(own, "groups"):
            module.weight.data = torch.stack([weight.plain() for weight in own.groups().weights])
        elif hasattr(own, "scales"):
            module.weight.data = own.weight * own.scales[:, None]
    found = []
    for own in (model, rounded):
        torch.manual_seed(3)
        add_lora(own, LoraSettings(rank=4, targets=TARGETS))
        found.append(collect(learn(own)).tensors)
    for name, (down, up) in found[0].items():
        torch.testing.assert_close(found[1][name][0], down, atol=1e-5, rtol=1e-4, msg=name)
        torch.testing.assert_close(found[1][name][1], up, atol=1e-5, rtol=1e-4, msg=name)


@pytest.mark.parametrize("selective", [False, True])
def test_recomputed_layers_change_no_gradient(model: AIDO, selective: bool) -> None:
    add_lora(model, LoraSettings(rank=4, targets=TARGETS))
    learn(model)
    again = recompute(copy.deepcopy(model), selective)
    for own in (model, again):
        own.zero_grad()
        logits(own).square().mean().backward()
    assert recompute(again) is again
    for (name, ours), theirs in zip(again.named_parameters(), model.parameters(), strict=True):
        assert (ours.grad is None) == (theirs.grad is None)
        assert ours.grad is None or torch.equal(ours.grad, theirs.grad), name


def test_what_does_not_fit_is_refused(model: AIDO) -> None:
    dense = AIDO(AIDOConfig(width=16, depth=1, heads=2, inner_width=24, experts=0))
    with pytest.raises(UsageError, match="the role 'experts' matches no"):
        add_lora(dense, LoraSettings(targets=("experts",)))
    plain = copy.deepcopy(model)
    add_lora(model, LoraSettings(rank=2, targets=("experts",)))
    with pytest.raises(UsageError, match="has adapters already"):
        add_lora(model, LoraSettings())
    adapter = collect(model)
    adapter.tensors["layers.0.feed_forward.experts.up.3"] = next(iter(adapter.tensors.values()))
    with pytest.raises(WeightsError, match=r"layers\.0\.feed_forward\.experts\.up\.3"):
        merge(plain, adapter)
