"""Every published parameter of AlphaFold 2 has its place in the model, whoever wrote the file, and goes back."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from chaperonin.cli.main import main
from chaperonin.errors import UsageError, WeightsError
from chaperonin.models import layout_of
from chaperonin.models.alphafold.checkpoints import config_of, convert, knows
from chaperonin.models.alphafold.config import PRESETS, AlphaFoldConfig
from chaperonin.models.alphafold.helixfold import helixfold_table
from chaperonin.models.alphafold.layout import LAYOUT
from chaperonin.models.alphafold.model import AlphaFold
from chaperonin.models.alphafold.openfold import current_names, openfold_table
from chaperonin.models.alphafold.weights import npz_table
from chaperonin.weights.arrays import read_npz
from chaperonin.weights.catalog import ALPHAFOLD
from chaperonin.weights.manifest import read_manifest
from chaperonin.weights.pieces import PieceTable
from chaperonin.weights.pretrained import load_folder, save_folder
from chaperonin.weights.verify import verify

PUBLISHED = {"a": "model_1", "b": "model_1_ptm", "c": "model_3_ptm"}
FUSED = {"d": "model_1", "e": "model_1_ptm", "f": "model_3_ptm"}
COUNTS = {"a": 336, "b": 338, "c": 267, "d": 312, "e": 314, "f": 251}
SMALL = AlphaFoldConfig(
    aligned_error=True, msa_width=16, extra_msa_width=8, pair_width=12, single_width=10, template_width=8,
    blocks=3, extra_msa_blocks=2, template_blocks=2, outer_product_width=4,
)  # fmt: skip
WITHOUT_TEMPLATES = AlphaFoldConfig(
    templates=False, msa_width=16, extra_msa_width=8, pair_width=12, single_width=10, blocks=1, extra_msa_blocks=1,
)  # fmt: skip
TABLES = {"npz": npz_table, "openfold": openfold_table, "helixfold": helixfold_table}


def listed(file: str, which: str, separator: str) -> list[list[str]]:
    """The lines of a list that are of one model: name, and what stands behind it."""
    found, scope = [], ""
    for line in (Path(__file__).parent / file).read_text().splitlines():
        if line.startswith(" "):
            letters, leaf, *rest = line.split()
            if which in letters:
                found.append([scope + leaf, *rest])
        elif not line.startswith("#"):
            scope = line.removesuffix("/") + separator
    return found


def sizes(text: str) -> list[int]:
    return [int(size) for size in text.split("x")]


def empty(config: AlphaFoldConfig) -> dict[str, Tensor]:
    with torch.device("meta"):
        return dict(AlphaFold(config).named_parameters())


def model_of(config: AlphaFoldConfig, seed: int = 0) -> AlphaFold:
    torch.manual_seed(seed)
    model = AlphaFold(config)
    for parameter in model.parameters():
        parameter.data.normal_()
    return model.eval()


def tensors_of(model: AlphaFold) -> dict[str, Tensor]:
    return {name: tensor.detach() for name, tensor in model.named_parameters()}


def equal(left: dict[str, Tensor], right: dict[str, Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


@pytest.fixture(scope="module")
def small() -> AlphaFold:
    return model_of(SMALL)


@pytest.fixture(scope="module")
def ours(small: AlphaFold) -> dict[str, Tensor]:
    return tensors_of(small)


@pytest.mark.parametrize("which", [*PUBLISHED, *FUSED])
def test_every_published_parameter_is_read_and_written_bit_for_bit(which: str) -> None:
    preset = (PUBLISHED | FUSED)[which]
    generator = torch.Generator().manual_seed(1)
    theirs = {
        f"alphafold/{name}": torch.rand(sizes(shape), generator=generator)
        for name, shape in listed("alphafold_parameters.txt", which, "//")
    }
    assert len(theirs) == COUNTS[which]
    assert sum(tensor.numel() for tensor in theirs.values()) == ALPHAFOLD.parameters[preset]
    wanted = empty(PRESETS[preset])
    table = npz_table(PRESETS[preset], fused=which in FUSED)
    found = table.read(theirs, wanted, "test")
    assert found.keys() == wanted.keys()
    assert all(found[name].shape == wanted[name].shape for name in found)
    assert equal(table.write(found), theirs)


@pytest.mark.parametrize("which", PUBLISHED)
def test_openfold_has_the_names_and_shapes_of_its_own_class(which: str) -> None:
    expected: dict[str, list[int]] = {}
    for name, blocks, shape in listed("openfold_parameters.txt", which, "."):
        expected |= {name.format(block): sizes(shape) for block in range(int(blocks))}
    config = PRESETS[PUBLISHED[which]]
    written = openfold_table(config).write(empty(config))
    assert {name: list(tensor.shape) for name, tensor in written.items()} == expected


def test_helixfold_has_as_many_tensors_as_it_says_of_itself() -> None:
    config = PRESETS["model_1_ptm"]
    assert len(helixfold_table(config).write(empty(config))) == 4630


@pytest.mark.parametrize("config", [SMALL, WITHOUT_TEMPLATES], ids=["templates", "without"])
@pytest.mark.parametrize("origin", TABLES)
def test_what_a_table_writes_it_reads(origin: str, config: AlphaFoldConfig) -> None:
    own = tensors_of(model_of(config))
    table = TABLES[origin](config)
    theirs = table.write(own)
    assert all(tensor.is_contiguous() for tensor in theirs.values())
    assert equal(table.read(theirs, empty(config), "test"), own)


def test_openfold_has_left_and_right_of_incoming_edges_the_other_way(ours: dict[str, Tensor]) -> None:
    haiku, openfold = npz_table(SMALL).write(ours), openfold_table(SMALL).write(ours)
    scope = "alphafold/alphafold_iteration/evoformer/evoformer_iteration/triangle_multiplication_"
    for direction, theirs, sides in (("outgoing", "out", "ab"), ("incoming", "in", "ba")):
        for name, side in zip(("left", "right"), sides, strict=True):
            published = haiku[f"{scope}{direction}/{name}_projection//weights"][1]
            assert torch.equal(
                openfold[f"evoformer.blocks.1.pair_stack.tri_mul_{theirs}.linear_{side}_p.weight"],
                published.T,
            )


def test_openfold_has_heads_flat(ours: dict[str, Tensor]) -> None:
    haiku, openfold = npz_table(SMALL).write(ours), openfold_table(SMALL).write(ours)
    scope = "alphafold/alphafold_iteration/evoformer/evoformer_iteration/msa_column_attention/attention//"
    attention = "evoformer.blocks.2.msa_att_col._msa_att.mha"
    assert torch.equal(openfold[f"{attention}.linear_q.weight"], haiku[f"{scope}query_w"][2].flatten(1).T)
    assert torch.equal(openfold[f"{attention}.linear_g.bias"], haiku[f"{scope}gating_b"][2].flatten())
    assert torch.equal(openfold[f"{attention}.linear_o.weight"], haiku[f"{scope}output_w"][2].flatten(0, 1).T)


def test_helixfold_merges_query_key_and_value_of_self_attention_only(ours: dict[str, Tensor]) -> None:
    haiku, helixfold = npz_table(SMALL).write(ours), helixfold_table(SMALL).write(ours)
    scope = "alphafold_iteration/evoformer/evoformer_iteration/msa_column_attention/attention"
    parts = np.stack([haiku[f"alphafold/{scope}//{name}_w"][1].numpy() for name in ("query", "key", "value")])
    merged = helixfold[
        "alphafold_iteration.evoformer.evoformer_iteration.1.msa_column_attention.attention.qkv_w"
    ]
    assert np.array_equal(merged.numpy(), parts.transpose(0, 2, 3, 1))
    extra = "alphafold_iteration.evoformer.extra_msa_stack.0.msa_column_global_attention.attention"
    assert f"{extra}.query_w" in helixfold and f"{extra}.qkv_w" not in helixfold
    assert "alphafold_iteration.evoformer.template_embedding.attention.query_w" in helixfold


def older(name: str) -> str:
    """A name as OpenFold's files of 2022 have it, in a wrapper."""
    for part in ("tri_mul_out", "tri_mul_in", "tri_att_start", "tri_att_end", "pair_transition"):
        if not name.startswith("template"):
            name = name.replace(f".pair_stack.{part}.", f".core.{part}.")
    for part in ("msa_transition", "outer_product_mean"):
        name = name.replace(f".{part}.", f".core.{part}.")
    name = name.replace("_points.linear.", "_points.").removeprefix("template_embedder.")
    return "module.model." + name.replace("template_single_embedder.", "template_angle_embedder.")


def test_older_names_of_openfold_are_read(ours: dict[str, Tensor]) -> None:
    today = openfold_table(SMALL).write(ours)
    before = {older(name): tensor for name, tensor in today.items()}
    assert "module.model.evoformer.blocks.0.core.tri_mul_in.linear_a_p.weight" in before
    assert equal(current_names(before, "test"), today)
    assert equal(current_names(today, "test"), today)
    with pytest.raises(WeightsError, match="is there twice"):
        current_names(today | before, "test")


def wrongly(
    change: Callable[[dict[str, Tensor], str], None], name: str
) -> Callable[[dict[str, Tensor]], None]:
    return lambda theirs: change(theirs, name)


def remove(theirs: dict[str, Tensor], name: str) -> None:
    del theirs[name]


def transpose(theirs: dict[str, Tensor], name: str) -> None:
    theirs[name] = theirs[name].transpose(-1, -2)


def shorten(theirs: dict[str, Tensor], name: str) -> None:
    theirs[name] = theirs[name][1:]


def flatten(theirs: dict[str, Tensor], name: str) -> None:
    theirs[name] = theirs[name].flatten()


def add(theirs: dict[str, Tensor], name: str) -> None:
    theirs[name] = torch.zeros(3)


ITERATION = "alphafold/alphafold_iteration"
TARGET = f"{ITERATION}/evoformer/preprocess_1d//weights"
QUERY = f"{ITERATION}/evoformer/evoformer_iteration/msa_column_attention/attention//query_w"


@pytest.mark.parametrize(
    ("change", "name", "message"),
    [
        (add, f"{ITERATION}/surprise//bias", "1 tensors fit nothing in the model: .*surprise//bias"),
        (remove, TARGET, "1 tensors are missing: .*preprocess_1d//weights"),
        (transpose, TARGET, r"preprocess_1d//weights is \[16, 22\], and the model needs \[22, 16\]"),
        (shorten, QUERY, r"query_w is \[2, 16, 8, 2\], and the model needs \[3, 16, 8, 2\]"),
        (transpose, QUERY, r"query_w is \[3, 16, 2, 8\], and the model needs \[3, 16, 8, 2\]"),
        (flatten, QUERY, r"query_w is \[768\], and the model needs \[3, 16, 8, 2\]"),
    ],
)
def test_what_does_not_fit_is_named(
    ours: dict[str, Tensor], change: Callable[[dict[str, Tensor], str], None], name: str, message: str
) -> None:
    theirs = npz_table(SMALL).write(ours)
    change(theirs, name)
    with pytest.raises(WeightsError, match=message):
        npz_table(SMALL).read(theirs, ours, "test")


def test_a_model_of_another_kind_does_not_fit(ours: dict[str, Tensor]) -> None:
    table: PieceTable = openfold_table(SMALL)
    with pytest.raises(WeightsError, match=r"tensors fit nothing in the model: aux_heads\.tm"):
        table.read(table.write(ours), empty(WITHOUT_TEMPLATES), "test")


def test_saved_and_loaded_is_the_same_model(
    small: AlphaFold, ours: dict[str, Tensor], tmp_path: Path
) -> None:
    save_folder(LAYOUT, small, tmp_path)
    again = load_folder(layout_of("alphafold"), tmp_path)
    assert isinstance(again, AlphaFold) and again.config == SMALL and not again.training
    assert equal(tensors_of(again), ours)
    assert json.loads((tmp_path / "config.json").read_text())["model_type"] == "alphafold"


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("blocks", None, "config.json lacks blocks"),
        ("blocks", "3", "blocks is '3', which is no size"),
        ("blocks", True, "blocks is True"),
        ("templates", 1, "templates is 1"),
        ("pair_width", -4, "pair_width is -4"),
        ("blocks", 2, "fit nothing in the model: blocks.2"),
        ("blocks", 4, "tensors are missing: blocks.3"),
        ("pair_width", 24, r"config.json makes it \["),
    ],
)
def test_a_configuration_that_is_none_is_refused(
    small: AlphaFold, tmp_path: Path, key: str, value: object, message: str
) -> None:
    save_folder(LAYOUT, small, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config = {name: own for name, own in (config | {key: value}).items() if own is not None}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(WeightsError, match=message):
        load_folder(LAYOUT, tmp_path)


@pytest.fixture
def presets(monkeypatch: pytest.MonkeyPatch) -> None:
    """A published model that is small."""
    monkeypatch.setitem(PRESETS, "model_1_ptm", SMALL)


def as_paddle(named: dict[str, Tensor]) -> dict[str, object]:
    content: dict[str, object] = {name: tensor.numpy() for name, tensor in named.items()}
    return content | {
        "StructuredToParameterName@@": {name: f"linear_{number}.w" for number, name in enumerate(named)}
    }


def write(origin: str, ours: dict[str, Tensor], folder: Path) -> Path:
    if origin == "npz":
        path = folder / "params_model_1_ptm.npz"
        np.savez(path, **{name: tensor.numpy() for name, tensor in npz_table(SMALL).write(ours).items()})  # type: ignore[arg-type]
    elif origin == "fused":
        path = folder / "params_model_1_ptm.npz"
        np.savez(
            path, **{name: tensor.numpy() for name, tensor in npz_table(SMALL, True).write(ours).items()}
        )  # type: ignore[arg-type]
    elif origin == "helixfold":
        path = folder / "model_1_ptm.pdparams"
        path.write_bytes(pickle.dumps(as_paddle(helixfold_table(SMALL).write(ours)), protocol=4))
    else:
        path = folder / "model_1_ptm.pt"
        named = openfold_table(SMALL).write(ours)
        content = {
            "openfold": named,
            "lightning": {
                "state_dict": {f"model.{name}": tensor + 1 for name, tensor in named.items()},
                "epoch": 3,
            }
            | {"ema": {"params": named, "decay": 0.999}},
        }
        torch.save(content[origin], path)
    return path


@pytest.mark.parametrize("origin", ["npz", "fused", "openfold", "lightning", "helixfold"])
@pytest.mark.parametrize("back", [".npz", ".pt"])
def test_a_checkpoint_becomes_a_folder_and_a_file_again(
    presets: None, ours: dict[str, Tensor], tmp_path: Path, origin: str, back: str
) -> None:
    source = write(origin, ours, tmp_path)
    assert knows(source)
    folder = convert(source, tmp_path / "out")
    again = load_folder(LAYOUT, folder)
    assert isinstance(again, AlphaFold) and again.config == SMALL and equal(tensors_of(again), ours)
    assert list(verify(folder, layout_of)) == []
    manifest = read_manifest(folder)
    assert manifest is not None and manifest.source.startswith(f"{source.name} sha256:")
    file = convert(folder, tmp_path / f"again{back}")
    if back == ".npz":
        with np.load(file, allow_pickle=False) as stored:
            theirs = {name: torch.from_numpy(stored[name]) for name in stored.files}
        assert equal(theirs, npz_table(SMALL).write(ours))
    else:
        assert equal(torch.load(file, weights_only=True), openfold_table(SMALL).write(ours))


def test_the_command_converts_both_ways(
    presets: None,
    ours: dict[str, Tensor],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    write("npz", ours, tmp_path).rename("mine.npz")
    assert main(["weights", "convert", "mine.npz", "out"]) == 1
    assert "--preset" in capsys.readouterr().err and not Path("out").exists()
    assert main(["weights", "convert", "mine.npz", "out", "--preset", "model_1_ptm"]) == 0
    assert main(["weights", "verify", "out"]) == 0
    assert main(["weights", "convert", "out", "params_model_1_ptm.npz"]) == 0
    assert capsys.readouterr().out == "out\nparams_model_1_ptm.npz\n"
    assert equal(read_npz(Path("params_model_1_ptm.npz")), read_npz(Path("mine.npz")))
    assert Path("params_model_1_ptm.npz").read_bytes() == Path("mine.npz").read_bytes()


@pytest.mark.parametrize(
    ("name", "preset", "expected"),
    [
        ("params_model_2.npz", None, PRESETS["model_2"]),
        ("params_model_5_ptm.npz", None, PRESETS["model_5_ptm"]),
        ("model_3.pdparams", None, PRESETS["model_3"]),
        ("anything.npz", "model_4_ptm", PRESETS["model_4_ptm"]),
        ("finetuning_no_templ_ptm_1.pt", None, PRESETS["model_3_ptm"]),
        (
            "initial_training.pt",
            None,
            AlphaFoldConfig(templates=False, aligned_error=True, extra_sequences=1024),
        ),
    ],
)
def test_the_name_says_which_model_it_is(name: str, preset: str | None, expected: AlphaFoldConfig) -> None:
    assert config_of(Path(name), ["aux_heads.tm.linear.bias"], preset) == expected


def test_a_name_that_says_nothing_or_another_model_is_refused() -> None:
    with pytest.raises(WeightsError, match="does not say which model"):
        config_of(Path("weights.npz"), [])
    with pytest.raises(WeightsError, match="model for complexes"):
        config_of(Path("params_model_1_multimer_v3.npz"), [])
    with pytest.raises(UsageError, match="no preset model_6"):
        config_of(Path("weights.npz"), [], "model_6")


def test_an_output_is_never_overwritten(small: AlphaFold, tmp_path: Path) -> None:
    save_folder(LAYOUT, small, tmp_path / "model")
    (tmp_path / "there.npz").write_bytes(b"mine")
    with pytest.raises(WeightsError, match="there is a file of that name"):
        convert(tmp_path / "model", tmp_path / "there.npz")
    with pytest.raises(UsageError, match=r"NAME.npz or NAME.pt"):
        convert(tmp_path / "model", tmp_path / "there.bin")
    assert (tmp_path / "there.npz").read_bytes() == b"mine"


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
@pytest.mark.parametrize("origin", ["npz", "helixfold"])
def test_a_truncated_file_is_refused(
    presets: None, ours: dict[str, Tensor], tmp_path: Path, origin: str, share: float
) -> None:
    path = write(origin, ours, tmp_path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(WeightsError, match="cut off, damaged or no"):
        convert(path, tmp_path / "out")
