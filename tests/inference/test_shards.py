import numpy as np
import pytest
from safetensors.numpy import load_file

from chaperonin.errors import InputError
from chaperonin.inference import shards
from chaperonin.inference.shards import Shards


def test_a_shard_is_a_safetensors_file(tmp_path):
    kept = Shards(tmp_path / "shards")
    size = kept.write(1, {7: {"a": np.arange(3), "b.c": np.eye(2)}, 8: {}})
    path = tmp_path / "shards/000001.safetensors"
    assert path.stat().st_size == size
    loaded = load_file(path)
    assert loaded.keys() == {"7.a", "7.b.c"}
    found = kept.read(1, 7)
    assert found.keys() == {"a", "b.c"}
    assert all(np.array_equal(found[name], loaded[f"7.{name}"]) for name in found)
    found["a"][0] = 5  # what is read is the caller's own
    assert kept.read(1, 8) == {}
    kept.close()


def test_more_shards_than_may_be_open_are_read_in_any_order(tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "_OPEN_SHARDS", 2)
    kept = Shards(tmp_path)
    for number in range(1, 6):
        kept.write(
            number, {unit: {"x": np.array([number, unit])} for unit in range(number * 10, number * 10 + 10)}
        )
    for unit in np.random.default_rng(0).permutation(np.arange(10, 60)).tolist():
        assert kept.read(unit // 10, unit)["x"].tolist() == [unit // 10, unit]
    assert len(kept._open) == 2
    kept.close()


@pytest.mark.parametrize("content", [b"", b"\x05\0\0\0\0\0\0\0{", b"\xff" * 9])
def test_a_damaged_shard_says_what_to_do(tmp_path, content):
    kept = Shards(tmp_path)
    (tmp_path / "000001.safetensors").write_bytes(content)
    for number in (1, 2):
        with pytest.raises(InputError, match=r"damaged or gone.* computed once more"):
            kept.read(number, 1)


def test_a_shard_cut_short_is_noticed(tmp_path):
    kept = Shards(tmp_path)
    kept.write(1, {1: {"x": np.arange(10)}})
    path = tmp_path / "000001.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match="damaged"):
        kept.read(1, 1)
    kept.close()
