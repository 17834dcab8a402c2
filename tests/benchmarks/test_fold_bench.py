"""The folding benchmark: its rows, the operations that it counts, and the programs that it runs beside ours."""

import json
import sys
from pathlib import Path

import pytest
import torch
from benchmarks.fold import main
from benchmarks.fold_elsewhere import Elsewhere
from benchmarks.fold_features import made_up, our_features
from benchmarks.fold_openfold import SETTINGS
from benchmarks.fold_peers import SETTINGS as NAMES
from benchmarks.fold_peers import weight_bytes
from benchmarks.fold_sides import PYTORCH_KERNELS, Shape, floating_operations, one_iteration
from benchmarks.fold_start import make_inputs, our_command, until_structure
from torch.utils.flop_counter import FlopCounterMode

from chaperonin.kernels import registry
from chaperonin.protein.alignment import read_a3m

STAND_IN = {
    "__init__.py": "",
    "config.py": """
class model_config:
    def __init__(self, name):
        self.values = {}
    def update_from_flattened_dict(self, values):
        self.values |= values
""",
    "data/__init__.py": "",
    "data/data_transforms.py": "def make_atom14_masks(features): return features",
    "model/__init__.py": "",
    "model/primitives.py": "",
    "model/model.py": """
import attn_core_inplace_cuda, torch
class AlphaFold(torch.nn.Linear):
    def __init__(self, config):
        super().__init__(config.values["model.evoformer_stack.no_blocks"], 2)
    def forward(self, features):
        logits = features["msa_feat"][..., 0]
        expected = logits.softmax(-1)
        attn_core_inplace_cuda.forward_(logits, logits.numel() // 49, 49)
        assert torch.equal(logits, expected)
""",
}
"""A package of OpenFold's names, with its softmax for GPUs."""


@pytest.mark.slow
def test_a_quick_run_measures_every_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--quick", "--threads", "1", "--out", str(tmp_path / "bench.json")]) == 0
    rows = json.loads((tmp_path / "bench.json").read_text())["rows"]
    # JAX and OpenFold are not here: each has a row about time, and rows about features, the start or memory.
    assert [row["verdict"] for row in rows].count("not run") == 5
    printed = capsys.readouterr().out
    assert printed.count("not measured: give --jax") == 3
    assert printed.count("not measured: give --openfold") == 2


@pytest.mark.slow
def test_rows_beside_openfold_come_from_its_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in STAND_IN.items():
        path = tmp_path / "checkout" / "openfold" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    given = ["--openfold", str(tmp_path / "checkout"), "--openfold-settings", "unchunked"]
    where = [*given, "--out", str(tmp_path / "bench.json")]
    assert main(["--quick", "--threads", "1", "--rows", "openfold,openfold-memory", *where]) == 0
    assert tuple(SETTINGS) == NAMES
    time, memory = json.loads((tmp_path / "bench.json").read_text())["rows"]
    assert "OpenFold's setting: unchunked" in time["notes"]
    assert set(time["samples"]) == {"ours", "unchunked"} and set(memory["samples"]["theirs"]) == {"unchunked"}
    assert memory["value"] == pytest.approx(1, abs=0.3)  # of so few residues, weights are nearly all


def test_the_weights_are_those_of_the_published_network() -> None:
    assert 4 * 92e6 < weight_bytes() < 4 * 94e6


def test_another_interpreter_is_asked_for_one_iteration_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    script = tmp_path / "counts.py"
    script.write_text(
        "import sys\nprint('ready', flush=True)\n"
        "for count, _ in enumerate(sys.stdin): print(count, flush=True); assert count < 1"
    )
    ask = Elsewhere(Path(sys.executable), script)
    assert [ask(), ask()] == ["0\n", "1\n"]
    with pytest.raises((RuntimeError, BrokenPipeError)):
        ask()
    ask.close()


@pytest.mark.slow
def test_the_start_is_timed_to_the_first_structure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    make_inputs(tmp_path, blocks=1)
    assert until_structure(our_command(tmp_path, 0), tmp_path / "ours0") > 0
    assert len(list((tmp_path / "ours0").glob("protein_unrelaxed_*.pdb"))) == 1
    with pytest.raises(RuntimeError, match="no structure"):
        until_structure([sys.executable, "-c", "pass"], tmp_path / "nothing")


def test_operations_counted_from_shapes_are_those_of_the_products() -> None:
    """PyTorch's counter sees the whole iteration: embeddings, structure module and heads are the few percent more."""
    shape = Shape(48, 64, 96, 2)
    run = one_iteration(shape)
    torch.set_num_threads(1)
    # PyTorch counts its own products.
    with registry.use(**PYTORCH_KERNELS), FlopCounterMode(display=False) as counter:
        run()
    assert 1.0 <= counter.get_total_flops() / floating_operations(shape) < 1.12


def test_features_are_made_of_a_file_that_both_sides_read(tmp_path: Path) -> None:
    a3m = tmp_path / "made_up.a3m"
    a3m.write_text(made_up(30, 20))
    alignment = read_a3m(a3m.read_text())
    assert alignment.residues.shape == (30, 20)
    assert 0.3 < (alignment.residues[1:] == alignment.residues[0]).mean() < 0.5
    our_features(a3m)()
