"""Scores of `compat: official` against a plain implementation of the published protocol, one forward at a time.

The protocol (ProteinGym v1.3, `compute_fitness.py`) is written out here once more, on transformers' ESM with random
weights, without any of our batching, planning or packing.
"""

import math
import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import EsmConfig, EsmForMaskedLM

from chaperonin.inference.load import load
from chaperonin.inference.score import ScoreSettings, score
from chaperonin.models.esm import ESM, ESMConfig
from chaperonin.models.esm.weights import LAYOUT
from chaperonin.protein.alphabet import ESM_ALPHABET, STANDARD_RESIDUES
from chaperonin.weights.pretrained import save_folder

TOLERANCE = 1e-4  # absolute, fp32, on sums of log-probabilities of a few positions


@pytest.fixture(scope="module")
def published() -> EsmForMaskedLM:
    torch.manual_seed(3)
    config = EsmConfig(
        vocab_size=33, mask_token_id=32, pad_token_id=1, bos_token_id=0, eos_token_id=2, hidden_size=32,
        num_hidden_layers=2, num_attention_heads=4, intermediate_size=64, position_embedding_type="rotary",
        max_position_embeddings=1026, emb_layer_norm_before=False, token_dropout=True, layer_norm_eps=1e-5,
    )  # fmt: skip
    model = EsmForMaskedLM(config).eval()
    for parameter in model.parameters():
        parameter.data.normal_(std=0.3)
    return model


@pytest.fixture(scope="module")
def ours(published: EsmForMaskedLM, tmp_path_factory: pytest.TempPathFactory) -> ESM:
    folder = tmp_path_factory.mktemp("published")
    published.save_pretrained(folder)
    return load(str(folder), precision="fp32", device="cpu")


def random_sequence(length: int, seed: int = 0) -> str:
    return "".join(random.Random(seed).choices(STANDARD_RESIDUES, k=length))


def substituted(sequence: str, positions: list[int], seed: int = 1) -> tuple[str, str]:
    """Notation and sequence with other residues at the positions (from 1)."""
    generator = random.Random(seed)
    parts, letters = [], list(sequence)
    for position in positions:
        old = sequence[position - 1]
        new = generator.choice(STANDARD_RESIDUES.replace(old, ""))
        parts.append(f"{old}{position}{new}")
        letters[position - 1] = new
    return ":".join(parts), "".join(letters)


def encode(sequence: str) -> torch.Tensor:
    return torch.tensor([[0, *(ESM_ALPHABET.index(residue) for residue in sequence), 2]])


def forward(model: EsmForMaskedLM, tokens: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return torch.log_softmax(model(input_ids=tokens).logits, dim=-1)[0]


def published_masked(model: EsmForMaskedLM, sequence: str, token: int) -> torch.Tensor:
    """Log-probabilities at one token, masked, in its optimal window of 1,024 tokens."""
    tokens = encode(sequence)
    tokens[0, token] = 32
    length, start = tokens.shape[1], 0
    if length > 1024:
        if token < 512:
            start = 0
        elif token >= length - 512:
            start = length - 1024
        else:
            start = token - 512
        tokens = tokens[:, start : start + 1024]
    return forward(model, tokens)[token - start]


def published_unmasked(model: EsmForMaskedLM, sequence: str) -> torch.Tensor:
    """Log-probabilities at every token; above 1,024 of them the weighted mean of overlapping windows."""
    tokens = encode(sequence)
    length = tokens.shape[1]
    if length <= 1024:
        return forward(model, tokens)
    weights = torch.ones(1024)
    for i in range(1, 257):
        weights[i] = 1 / (1 + math.exp(-(i - 128) / 16))
    for i in range(1022 - 256, 1023):
        weights[i] = 1 / (1 + math.exp((i - 1022 + 128) / 16))
    total, weight = torch.zeros(length, 33), torch.zeros(length)

    def add(first: int, last: int) -> None:
        total[first : last + 1] += forward(model, tokens[:, first : last + 1]) * weights[:, None]
        weight[first : last + 1] += weights

    left_first, left_last, right_first, right_last = 0, 1023, length - 1024, length - 1
    while True:
        add(left_first, left_last)
        add(right_first, right_last)
        if left_last > right_first:
            break
        left_first, left_last = left_first + 511, left_last + 511
        right_first, right_last = right_first - 511, right_last - 511
    if left_last - right_first + 1 < 511:
        add(length // 2 - 512, length // 2 - 512 + 1023)
    return total / weight[:, None]


def published_pseudo_likelihood(model: EsmForMaskedLM, sequence: str) -> float:
    """The script's sum, with its residue index where a token index is meant."""
    total = 0.0
    for i in range(1, len(sequence) - 1):
        tokens = encode(sequence)
        tokens[0, i] = 32
        total += forward(model, tokens)[i, ESM_ALPHABET.index(sequence[i])].item()
    return total


def label(variant: str, table: dict[int, torch.Tensor]) -> float:
    total = 0.0
    for part in variant.split(":"):
        row = table[int(part[1:-1])]
        total += (row[ESM_ALPHABET.index(part[-1])] - row[ESM_ALPHABET.index(part[0])]).item()
    return total


def our_scores(
    model: ESM, folder: Path, rows: list[tuple[str, str]], target: str, **options: object
) -> list[float]:
    path = folder / "assay.csv"
    lines = "".join(f"{variant},{sequence}\n" for variant, sequence in rows)
    path.write_text("mutant,mutated_sequence\n" + lines)
    settings = ScoreSettings(compat="official", target=target, **options)  # type: ignore[arg-type]
    result = score(model, path, settings)
    assert result.failures == []
    return [float(row["score"]) for row in result.rows]


POSITIONS = {
    40: [[1], [40], [7], [20, 21], [3, 17, 33, 40]],
    1022: [[1], [1022], [500, 511, 512]],
    1023: [[1], [511], [512], [513], [1023], [1, 1023]],
    1400: [[1], [511, 512, 900], [1400]],
    2300: [[1], [512], [1150], [1789], [2300]],
}


@pytest.mark.parametrize("length", POSITIONS)
def test_masked_marginals_equal_the_published_protocol(
    published: EsmForMaskedLM, ours: ESM, tmp_path: Path, length: int
) -> None:
    wild_type = random_sequence(length, length)
    rows = [substituted(wild_type, positions, seed) for seed, positions in enumerate(POSITIONS[length])]
    found = our_scores(ours, tmp_path, rows, wild_type)
    table = {p: published_masked(published, wild_type, p) for group in POSITIONS[length] for p in group}
    assert found == pytest.approx([label(variant, table) for variant, _ in rows], abs=TOLERANCE)


@pytest.mark.parametrize("length", POSITIONS)
def test_wild_type_marginals_equal_the_published_protocol(
    published: EsmForMaskedLM, ours: ESM, tmp_path: Path, length: int
) -> None:
    wild_type = random_sequence(length, length)
    rows = [substituted(wild_type, positions, seed) for seed, positions in enumerate(POSITIONS[length])]
    found = our_scores(ours, tmp_path, rows, wild_type, protocol="wt-marginal")
    table = dict(enumerate(published_unmasked(published, wild_type)))
    assert found == pytest.approx([label(variant, table) for variant, _ in rows], abs=TOLERANCE)


@pytest.mark.parametrize("length", [2, 3, 40])
def test_pseudo_likelihood_equals_the_published_script_with_its_shifted_index(
    published: EsmForMaskedLM, ours: ESM, tmp_path: Path, length: int
) -> None:
    wild_type = random_sequence(length, length)
    rows = [substituted(wild_type, [1]), substituted(wild_type, [1, length])]
    found = our_scores(ours, tmp_path, rows, wild_type, protocol="pseudo-likelihood")
    expected = [published_pseudo_likelihood(published, sequence) for _, sequence in rows]
    assert found == pytest.approx(expected, abs=TOLERANCE)


def test_insertions_and_deletions_are_scored_by_the_only_published_protocol_that_takes_them(
    published: EsmForMaskedLM, ours: ESM, tmp_path: Path
) -> None:
    wild_type = random_sequence(30)
    sequences = [wild_type[1:], wild_type[:10] + "GG" + wild_type[10:], "A" + wild_type[1:]]
    found = our_scores(ours, tmp_path, [("", sequence) for sequence in sequences], wild_type)
    expected = [published_pseudo_likelihood(published, sequence) for sequence in sequences]
    assert found == pytest.approx(expected, abs=TOLERANCE)


def test_unknown_and_rare_residues_around_a_change_are_no_obstacle(
    published: EsmForMaskedLM, ours: ESM, tmp_path: Path
) -> None:
    wild_type = "MXBZUOACDEFGHIKLX"
    rows = [("C8W", ""), ("X2A", ""), ("A7U", "")]
    found = our_scores(ours, tmp_path, rows, wild_type)
    table = {position: published_masked(published, wild_type, position) for position in (2, 7, 8)}
    assert found == pytest.approx([label(variant, table) for variant, _ in rows], abs=TOLERANCE)


def test_what_learned_positions_cannot_take_in_one_pass_is_a_failure_that_says_so(tmp_path: Path) -> None:
    """ESM-1b has positions for 1,022 residues, and the script no windows for pseudo-likelihoods."""
    plain = ESM(ESMConfig(width=16, depth=1, heads=2, inner_width=32, positions="learned"))
    save_folder(LAYOUT, plain, tmp_path / "learned")
    model = load(str(tmp_path / "learned"), precision="fp32", device="cpu")
    wild_type = random_sequence(1023)
    mutant, _ = substituted(wild_type, [700])
    (tmp_path / "assay.csv").write_text(f"mutant\n{mutant}\n")
    official = ScoreSettings(compat="official", target=wild_type)
    (failure,) = score(
        model, tmp_path / "assay.csv", replace(official, protocol="pseudo-likelihood")
    ).failures
    assert failure["error"] == (
        "1,023 residues; ProteinGym's script takes them in one pass, this model at most 1,022"
    )
    assert failure["where"].endswith("assay.csv:2") and "Leave --compat official out" in failure["advice"]
    windows = score(model, tmp_path / "assay.csv", official)
    assert windows.failures == [] and len(windows.rows) == 1
