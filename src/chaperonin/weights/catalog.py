"""The published checkpoints known by name: which commit is meant, how large it is, who may use it."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Published:
    """A model repository of the hub, fixed to one commit."""

    name: str
    """Repository, `owner/model`."""
    commit: str
    """What `pull` fetches when no revision is asked for."""
    parameters: int
    """Trained numbers, contact head included."""
    size_bytes: int
    """Weight files on the hub, in float32."""
    licence: str = "MIT"
    sha256: Mapping[str, str] = field(default_factory=dict)
    """What a weight file must hash to, whatever the hub says of it."""


def _esm2(shape: str, commit: str, parameters: int, size_bytes: int, sha256: str = "") -> Published:
    pinned = {"model.safetensors": sha256} if sha256 else {}
    return Published(f"facebook/esm2_{shape}_UR50D", commit, parameters, size_bytes, sha256=pinned)


def _esm1(model: str, commit: str) -> Published:
    return Published(f"facebook/{model}", commit, 652_359_094, 2_609_500_000)


_ALL = (
    _esm2(
        "t6_8M",
        "c731040fcd8d73dceaa04b0a8e6329b345b0f5df",
        7_512_474,
        31_384_292,
        "24c5fa474c48f3b754b86efe752d5f189d2bcd88190fa2270fc92b2ef3034189",
    ),
    _esm2(
        "t12_35M",
        "6fbf070e65b0b7291e7bbcd451118c216cff79d8",
        33_501_394,
        136_008_798,
        "e35647818e0e064351d4531ed480d225a002567b4b2b93ad3a9246d753150fc0",
    ),
    _esm2(
        "t30_150M",
        "a695f6045e2e32885fa60af20c13cb35398ce30c",
        148_140_154,
        595_257_706,
        "c3f1da8aea53bddd32c246c86168c23b9fd72341fb9db9a94436f855f5053566",
    ),
    _esm2(
        "t33_650M",
        "08e4846e537177426273712802403f7ba8261b6c",
        651_043_254,
        2_609_506_392,
        "a08adabb949fa67ad3c14b509d04fd60368b35007b0095e3358f81200c4f4db0",
    ),
    _esm2("t36_3B", "476b639933c8baad5ad09a60ac1a87f987b656fc", 2_839_005_634, 11_367_000_000),
    _esm2("t48_15B", "5fbca39631164edc1d402a5aa369f982f72ee282", 15_129_100_194, 60_600_000_000),
    _esm1("esm1b_t33_650M_UR50S", "7b37824baec4d3658e1df7479222a7c79b465b76"),
    _esm1("esm1v_t33_650M_UR90S_1", "8bfdb1892536cc77bd0760b9c25ddced2cd0b4c8"),
    _esm1("esm1v_t33_650M_UR90S_2", "3c1e9e64480f069b163e456c361bfd80a8bab04c"),
    _esm1("esm1v_t33_650M_UR90S_3", "0b00fd112e63f6b5e70a9cd8484d4e660312ce70"),
    _esm1("esm1v_t33_650M_UR90S_4", "443968f644da132d323bbc6321a6d443149fa57b"),
    _esm1("esm1v_t33_650M_UR90S_5", "fb2e51cb0f605cbad2c4ca3bb784be7bc8e2f4a8"),
)

PUBLISHED: dict[str, Published] = {model.name: model for model in _ALL}
"""Name on the hub → what is known of it."""


@dataclass(frozen=True)
class Archive:
    """Several models in one file of a server of their publisher."""

    name: str
    """The owner's part of the names of its models: `name/model`."""
    version: str
    file: str
    endpoint: str
    mirror_variable: str
    """Environment variable that names another server, as HF_ENDPOINT does for the hub."""
    licence: str
    parameters: Mapping[str, int]
    """Model → trained numbers, of four bytes each."""
    sha256: str = ""
    """What the file must hash to; empty while nobody has written it down here."""

    @property
    def url(self) -> str:
        """Where the file is asked for."""
        return f"{os.environ.get(self.mirror_variable) or self.endpoint}/{self.file}"

    @property
    def pin(self) -> str:
        """What fixes its content, for the listing."""
        return self.sha256[:12] or f"{self.version}, not pinned"


ALPHAFOLD = Archive(
    name="alphafold2",
    version="2022-12-06",
    file="alphafold_params_2022-12-06.tar",
    endpoint="https://storage.googleapis.com/alphafold",
    mirror_variable="ALPHAFOLD_ENDPOINT",
    licence="CC BY 4.0",
    parameters={
        f"model_{number}{ending}": (93_229_082 if number <= 2 else 92_899_674) + (8_256 if ending else 0)
        for ending in ("", "_ptm")
        for number in range(1, 6)
    },
)
"""The parameters of AlphaFold 2; the models for complexes in the same file are left out."""
