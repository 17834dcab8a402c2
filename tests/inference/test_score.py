"""Scores of variants: equal to one pass at a time, every row accounted for, the same bytes after a stop."""

import csv
import json
import logging
import random
from pathlib import Path

import numpy as np
import pytest
import torch

import chaperonin.inference.score as verb
from chaperonin.errors import UsageError
from chaperonin.inference.score import Scores, ScoreSettings, forecast, score, score_job
from chaperonin.inference.score_windows import optimal_window, overlapping_windows, window_weights
from chaperonin.kernels.segments import Segments
from chaperonin.models.esm import ESM
from chaperonin.protein.alphabet import STANDARD_RESIDUES
from chaperonin.protein.substitution import blosum62

ALONE = 2e-5  # absolute: packed = single within 1e-5 at each of two residues


def random_sequence(length: int, seed: int = 0) -> str:
    return "".join(random.Random(seed).choices(STANDARD_RESIDUES, k=length))


WILD = random_sequence(50)


def alone(model: ESM, sequence: str, masked: int | None, read: int | None = None) -> np.ndarray:
    """Log-probabilities of the vocabulary at a residue (from 0): one pass, nothing beside it."""
    position = masked if read is None else read
    assert position is not None
    tokens = torch.from_numpy(model.alphabet.encode(sequence))
    if masked is not None:
        tokens[masked + 1] = model.alphabet.mask
    start, stop = optimal_window(position + 1, len(tokens))
    with torch.inference_mode():
        hidden = model(tokens[start:stop], Segments([stop - start]))
        return model.lm_head(hidden)[position + 1 - start].log_softmax(-1).numpy()


def likelihood(model: ESM, sequence: str, masked: bool = True) -> float:
    return sum(
        float(alone(model, sequence, position if masked else None, position)[model.alphabet.index(residue)])
        for position, residue in enumerate(sequence)
    )


def table(tmp_path: Path, header: str, *lines: str, name: str = "assay.csv") -> Path:
    path = tmp_path / name
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


def numbers(result: Scores, column: str = "score") -> list[float]:
    return [float(row[column]) for row in result.rows]


def marginal(model: ESM, variant: str, masked: bool = True, sequence: str = WILD) -> float:
    total = 0.0
    for part in variant.split(":"):
        position = int(part[1:-1]) - 1
        row = alone(model, sequence, position if masked else None, position)
        total += float(row[model.alphabet.index(part[-1])] - row[model.alphabet.index(part[0])])
    return total


def mutant(*positions: int, residue: str = "W") -> str:
    return ":".join(f"{WILD[p - 1]}{p}{residue if WILD[p - 1] != residue else 'A'}" for p in positions)


@pytest.mark.parametrize("protocol", ["masked-marginal", "wt-marginal"])
def test_marginals_are_sums_of_single_passes(model: ESM, tmp_path: Path, protocol: str) -> None:
    variants = [mutant(1), mutant(50), mutant(3, 4, 40), mutant(3), "wt", f"{WILD[4]}5{WILD[4]}"]
    path = table(tmp_path, "mutant", *variants)
    result = score(model, path, ScoreSettings(protocol=protocol, target=WILD))  # type: ignore[arg-type]
    expected = [marginal(model, variant, protocol == "masked-marginal") for variant in variants[:4]]
    assert numbers(result) == pytest.approx([*expected, 0, 0], abs=ALONE)


def test_pseudo_likelihood_is_the_difference_to_the_wild_type_and_names_both(
    model: ESM, tmp_path: Path
) -> None:
    changed = "A" + WILD[1:20] + "GG" + WILD[20:]
    path = table(tmp_path, "mutated_sequence", changed, WILD)
    result = score(model, path, ScoreSettings(protocol="pseudo-likelihood", target=WILD))
    plain = [likelihood(model, changed), likelihood(model, WILD)]
    assert numbers(result, "pseudo_log_likelihood") == pytest.approx(plain, abs=50 * ALONE)
    assert numbers(result) == pytest.approx([plain[0] - plain[1], 0], abs=50 * ALONE)


def test_insertions_and_deletions_take_their_own_protocol_and_all_of_their_table_with_them(
    model: ESM, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sequences = [WILD[1:], WILD[:9] + "G" + WILD[9:], "A" + WILD[1:]]
    path = table(tmp_path, "mutated_sequence", *sequences)
    with caplog.at_level(logging.INFO):
        result = score(model, path, ScoreSettings(target=WILD))
    expected = [likelihood(model, s, masked=False) - likelihood(model, WILD, masked=False) for s in sequences]
    assert numbers(result) == pytest.approx(expected, abs=50 * ALONE)
    assert "2 of 3 variants have insertions or deletions, so all are scored by indel" in caplog.text


def test_long_proteins_are_scored_in_the_window_around_the_change(model: ESM, tmp_path: Path) -> None:
    long = random_sequence(1300, 5)
    variants = [f"{long[p - 1]}{p}{'W' if long[p - 1] != 'W' else 'A'}" for p in (1, 600, 1300)]
    result = score(model, table(tmp_path, "mutant", *variants), ScoreSettings(target=long))
    assert numbers(result) == pytest.approx([marginal(model, v, sequence=long) for v in variants], abs=ALONE)


def test_overlapping_windows_of_a_long_protein_are_blended_at_every_residue(
    model: ESM, tmp_path: Path
) -> None:
    long = random_sequence(1100, 6)
    path = table(tmp_path, "mutated_sequence", long[1:])
    (plain,) = numbers(score(model, path, ScoreSettings(target=long)), "pseudo_log_likelihood")
    tokens = torch.from_numpy(model.alphabet.encode(long[1:]))
    total, weight = np.zeros(len(tokens)), np.zeros(len(tokens))
    for start, stop in overlapping_windows(len(tokens)):
        with torch.inference_mode():
            logits = model.lm_head(model(tokens[start:stop], Segments([1024]))).log_softmax(-1)
        own = logits[torch.arange(1024), tokens[start:stop]].numpy()
        total[start:stop] += own * window_weights()
        weight[start:stop] += window_weights()
    assert plain == pytest.approx((total / weight)[1:-1].sum(), abs=1100 * ALONE)


def test_a_scan_is_every_substitution_of_every_protein(model: ESM, tmp_path: Path) -> None:
    proteins = {"a": random_sequence(12, 1), "b, c": "MX" + random_sequence(6, 2)}
    result = score(model, proteins)
    assert [(row["id"], row["mutant"]) for row in result.rows] == [
        (id, f"{residue}{position}{other}")
        for id, sequence in proteins.items()
        for position, residue in enumerate(sequence, start=1)
        for other in STANDARD_RESIDUES
        if other != residue
    ]
    by_mutant = {(row["id"], row["mutant"]): float(row["score"]) for row in result.rows}
    for id, sequence in proteins.items():
        variant = f"{sequence[4]}5{'W' if sequence[4] != 'W' else 'A'}"
        assert by_mutant[id, variant] == pytest.approx(marginal(model, variant, sequence=sequence), abs=ALONE)


def test_a_scan_and_a_table_of_the_same_variants_agree(model: ESM, tmp_path: Path) -> None:
    scan = score(model, {"a": WILD})
    path = table(tmp_path, "mutant", *[str(row["mutant"]) for row in scan.rows])
    assert numbers(score(model, path, ScoreSettings(target=WILD))) == numbers(scan)


def test_every_row_ends_as_a_score_or_as_a_failure(model: ESM, tmp_path: Path) -> None:
    lines = [f"a,{mutant(1)},=1+1", "b,A0A,x", "c,,x", f"d,{mutant(2)},-3.5", f"e,{WILD[0]}1J,x"]
    path = table(tmp_path, "id,mutant,note", *lines)
    outcome = score_job(model, path, tmp_path / "out", ScoreSettings(target=WILD))
    assert (outcome.done, outcome.failed, outcome.exit_code) == (2, 3, 3)
    with (tmp_path / "out/scores.csv").open() as file:
        written = list(csv.DictReader(file))
    assert list(written[0]) == ["id", "mutant", "note", "score"]
    assert [(row["id"], row["note"]) for row in written] == [("a", "'=1+1"), ("d", "-3.5")]
    failures = [json.loads(line) for line in (tmp_path / "out/failures.jsonl").read_text().splitlines()]
    assert [(f["id"], f["record"], f["where"]) for f in failures] == [
        ("b", 2, "assay.csv:3"),
        ("c", 3, "assay.csv:4"),
        ("e", 5, "assay.csv:6"),
    ]
    assert all(failure["error"] and failure["advice"] for failure in failures)
    run = json.loads((tmp_path / "out/run.json").read_text())
    assert run["records"] == {"read": 5, "done": 2, "failed": 3, "unique": 1}
    assert run["config"]["protocol"] == "masked-marginal" and run["tokens"] == 2 * 52


def test_a_column_named_score_is_kept_under_another_name(model: ESM, tmp_path: Path) -> None:
    path = table(tmp_path, "mutant,score", f"{mutant(1)},7")
    (row,) = score(model, path, ScoreSettings(target=WILD)).rows
    assert list(row) == ["mutant", "input_score", "score"] and row["input_score"] == "7"
    path = table(tmp_path, "mutant,score,input_score", f"{mutant(1)},7,8")
    (row,) = score(model, path, ScoreSettings(target=WILD)).rows
    assert (row["input_input_score"], row["input_score"]) == ("7", "8")


@pytest.mark.parametrize("protocol", ["masked-marginal", "wt-marginal"])
def test_j_is_scanned_as_x_where_that_is_asked_for(model: ESM, protocol: str) -> None:
    proteins = {"a": "MJKTAYIAKQ"}
    (failure,) = score(model, proteins, ScoreSettings(protocol=protocol)).failures  # type: ignore[arg-type]
    assert "the letter J" in failure["error"]
    settings = ScoreSettings(protocol=protocol, unknown="X")  # type: ignore[arg-type]
    as_x = score(model, {"a": "MXKTAYIAKQ"}, settings)
    assert score(model, proteins, settings).rows == as_x.rows and len(as_x.rows) == 9 * 19 + 20


@pytest.mark.parametrize("protocol", ["masked-marginal", "pseudo-likelihood"])
def test_fewer_tokens_at_once_give_the_same_scores(
    model: ESM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, protocol: str
) -> None:
    positions = range(3, 50) if protocol == "masked-marginal" else [3, 4]
    changed = [mutant(1), mutant(2, 50), *(mutant(position) for position in positions)]
    path = table(tmp_path, "mutant", *changed)
    found, most = [], []
    compute = verb.log_probabilities
    monkeypatch.setattr(
        verb, "log_probabilities", lambda model, units: most.append(units) or compute(model, units)
    )
    for tokens in (4096, 300, 10):
        settings = ScoreSettings(protocol=protocol, target=WILD, batch_tokens=tokens)  # type: ignore[arg-type]
        most.clear()
        found.append(numbers(score(model, path, settings)))
        together = [sum(unit.tokens for unit in units) for units in most]
        assert max(together) <= max(tokens, 52) and max(together) > min(tokens, 52) / 2
    assert found[0] == pytest.approx(found[1], abs=60 * ALONE)
    assert found[0] == pytest.approx(found[2], abs=60 * ALONE)


def test_a_folder_is_a_batch_of_assays_and_equal_targets_are_computed_once(
    model: ESM, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "assays"
    folder.mkdir()
    table(folder, "mutant,target_seq", f"{mutant(1)},{WILD}", f"{mutant(2)},{WILD}", name="one.csv")
    table(folder, "mutant,target_seq,DMS_score", f"{mutant(2, 3)},{WILD},0.5", name="two.csv")
    table(folder, "mutant", "A1C", name="without_wild_type.csv")
    table(folder, "about the assays", name="README.md")
    with caplog.at_level(logging.INFO):
        result = score(model, folder)
    assert [(row["DMS_id"], row["mutant"], row["DMS_score"]) for row in result.rows] == [
        ("one", mutant(1), ""),
        ("one", mutant(2), ""),
        ("two", mutant(2, 3), "0.5"),
    ]
    assert numbers(result) == pytest.approx(
        [marginal(model, str(row["mutant"])) for row in result.rows], abs=ALONE
    )
    assert [(f["id"], f["error"]) for f in result.failures] == [
        ("README.md", "the suffix '.md' says nothing about the format"),
        ("without_wild_type", "the wild type is not known"),
    ]
    assert "3 forward passes, 156 tokens; ProteinGym's script: 104 passes, 5,408 tokens" in caplog.text


def test_other_targets_are_another_job(model: ESM, tmp_path: Path) -> None:
    path = table(tmp_path, "mutant", f"{WILD[0]}1W")
    score_job(model, path, tmp_path / "out", ScoreSettings(target=WILD))
    with pytest.raises(UsageError, match="other settings: target"):
        score_job(model, path, tmp_path / "out", ScoreSettings(target=WILD[:-1]))


def test_evaluation_puts_blosum62_beside_the_model_and_averages_as_proteingym(
    model: ESM, tmp_path: Path
) -> None:
    folder = tmp_path / "assays"
    folder.mkdir()
    generator = random.Random(3)
    for name in ("A_HUMAN_one", "A_HUMAN_two", "B_VIRUS"):
        lines = []
        for position in range(1, 51):
            variant = mutant(position, residue=generator.choice("ACDEFW"))
            measured = generator.random()
            lines.append(f"{variant},{measured:.4f},{int(measured > 0.5)}")
        table(folder, "mutant,DMS_score,DMS_score_bin", *lines, f"{mutant(3, 4)},,", name=f"{name}.csv")
    reference = table(
        tmp_path,
        "DMS_id,UniProt_ID,coarse_selection_type,MSA_Neff_L_category,taxon,target_seq",
        f"A_HUMAN_one,A_HUMAN,Activity,low,Human,{WILD}",
        f"A_HUMAN_two,A_HUMAN,Activity,low,Human,{WILD}",
        f"B_VIRUS,B_VIRUS,Binding,High,Virus,{WILD}",
        name="reference.csv",
    )
    settings = ScoreSettings(evaluate=True, reference=str(reference))
    score_job(model, folder, tmp_path / "out", settings)
    metrics = json.loads((tmp_path / "out/metrics.json").read_text())
    own = {name: round(row["Spearman"], 3) for name, row in metrics["assays"].items()}
    expected = ((own["A_HUMAN_one"] + own["A_HUMAN_two"]) / 2 + own["B_VIRUS"]) / 2
    assert metrics["Spearman"] == pytest.approx(expected, abs=6e-4)
    assert metrics["average_over"] == "selection types"
    assert metrics["assays"]["B_VIRUS"]["without_measurement"] == 1
    assert {row["Model_name"] for row in metrics["summary"]["AUC"]} == {model.origin.name, "BLOSUM62"}
    assert {"Low_MSA_depth", "Taxa_Virus", "Function_Binding"} <= set(metrics["summary"]["AUC"][0])
    with (tmp_path / "out/scores.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["DMS_id"] == "B_VIRUS" and row["DMS_score"]]
    baseline = [blosum62(row["mutant"][0], row["mutant"][-1]) for row in rows]
    from scipy.stats import spearmanr

    found = spearmanr([float(row["DMS_score"]) for row in rows], baseline).statistic
    assert metrics["assays"]["B_VIRUS"]["BLOSUM62"]["Spearman"] == pytest.approx(found)
    with (tmp_path / "out/metrics_by_protein.csv").open() as file:
        by_protein = [row for row in csv.DictReader(file) if row["metric"] == "Spearman"]
    mean = round((own["A_HUMAN_one"] + own["A_HUMAN_two"]) / 2, 3)
    assert [row["UniProt_ID"] for row in by_protein] == ["A_HUMAN", "A_HUMAN", "B_VIRUS", ""]
    assert float(by_protein[0][model.origin.name]) == pytest.approx(mean, abs=1.5e-3)  # rounded twice
    with (tmp_path / "out/metrics.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [(row["DMS_id"], row["predictor"]) for row in lines][:2] == [
        ("A_HUMAN_one", model.origin.name),
        ("A_HUMAN_one", "BLOSUM62"),
    ]


def test_without_a_reference_the_average_is_over_assays(model: ESM, tmp_path: Path) -> None:
    path = table(tmp_path, "mutant,DMS_score", *(f"{mutant(p)},{p}" for p in range(1, 30)))
    metrics = score(model, path, ScoreSettings(evaluate=True, target=WILD)).metrics
    assert metrics["average_over"] == "assays" and metrics["AUC"] is None
    assert metrics["Spearman"] == metrics["assays"]["assay"]["Spearman"]


@pytest.mark.parametrize(
    ("header", "settings", "message"),
    [
        ("mutant", ScoreSettings(target=WILD, evaluate=True), "no column DMS_score"),
        ("id,sequence", ScoreSettings(target=WILD), "no column mutant and no column mutated_sequence"),
        ("id,sequence", ScoreSettings(protocol="pseudo-likelihood"), "saturation scan by pseudo-likelihood"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_runs(
    model: ESM, tmp_path: Path, header: str, settings: ScoreSettings, message: str
) -> None:
    path = table(tmp_path, header, "M1A" if header == "mutant" else f"a,{WILD}")
    with pytest.raises(UsageError, match=message):
        score_job(model, path, tmp_path / "out", settings)


def test_the_forecast_names_passes_and_tokens_and_runs_nothing(model: ESM, tmp_path: Path) -> None:
    path = table(tmp_path, "mutant", mutant(1), mutant(2, 1), "A1J")
    text = forecast(model, path, ScoreSettings(target=WILD))
    assert (
        "3 variants (1 of them cannot be used): 2 forward passes, 104 tokens; ProteinGym's script: 52" in text
    )
    assert list(tmp_path.iterdir()) == [path]


def test_a_real_assay_is_scored_as_it_is(model: ESM, real_data: Path, tmp_path: Path) -> None:
    path = real_data / "dms/substitutions_singles/IF1_ECOLI_Kelsic_2016.csv.gz"
    outcome = score_job(model, path, tmp_path / "out", ScoreSettings(evaluate=True))
    assert (outcome.done, outcome.failed) == (1367, 0)
    metrics = json.loads((tmp_path / "out/metrics.json").read_text())
    assert metrics["assays"]["IF1_ECOLI_Kelsic_2016"]["variants"] == 1367
