import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from chaperonin.inference.provenance import Provenance, hardware, versions


@dataclass(frozen=True)
class Settings:
    model: str
    folder: Path
    sizes: tuple[int, ...]


def test_run_json_says_how_a_result_came_about(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["chaperonin", "embed", "my file.fasta"])
    settings = Settings("tiny", Path("a/b"), (1, 2))
    provenance = Provenance("embed", settings, model={"name": "tiny", "sha256": "0", "parameters": 7}, seed=3)
    for _ in range(2):
        with provenance.stage("compute"):
            pass
    records = {"read": 4, "done": 3, "failed": 1, "unique": 2}
    path = provenance.write(tmp_path, records=records, tokens=99, predicted_bytes=12)
    assert path == tmp_path / "run.json"
    found = json.loads(path.read_text())
    assert found["verb"] == "embed"
    assert found["command"] == "chaperonin embed 'my file.fasta'"
    assert found["config"] == {"model": "tiny", "folder": "a/b", "sizes": [1, 2]}
    assert found["model"] == {"name": "tiny", "sha256": "0", "parameters": 7}
    assert found["seed"] == 3
    assert found["records"] == records
    assert found["tokens"] == 99
    assert found["seconds"].keys() == {"compute"}
    assert found["memory"]["predicted_bytes"] == 12
    assert found["memory"]["measured_bytes"] >= found["memory"]["host_bytes"] > 1 << 20
    assert found["started"] <= found["finished"]
    assert found["versions"]["numpy"] == np.__version__
    assert found["hardware"]["cores"] >= 1


def test_the_versions_of_what_results_depend_on_are_known():
    assert versions().keys() >= {"python", "chaperonin", "torch", "numpy", "safetensors"}


def test_hardware_has_a_processor_and_memory():
    found = hardware()
    assert found["cpu"]
    assert found["memory_bytes"] > 1 << 28


def test_peak_memory_sees_an_allocation():
    code = "import numpy; from chaperonin.inference.provenance import peak_memory as peak; "
    code += "before = peak().host_bytes; numpy.ones(100 << 17); print(peak().host_bytes - before)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 90 << 20 <= int(done.stdout) <= 110 << 20
