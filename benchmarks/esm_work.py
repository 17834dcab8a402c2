"""What is done before and beside the model: tokens, passes, start-up."""

import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import run

from benchmarks.esm_sides import tokens_ours, tokens_theirs
from benchmarks.setting import Setting
from benchmarks.table import Row, not_run
from benchmarks.timing import Side


def tokenise(setting: Setting) -> list[Row]:
    """Sequences to ids; both give the same."""
    sequences, source = setting.proteins(20 if setting.quick else 1000)
    arguments = {"sequences": sequences}
    sides = [Side(tokens_ours, arguments), Side(tokens_theirs, arguments)]
    samples = setting.interleave(sides)
    if [list(own) for own in samples.results[0]] != samples.results[1]:
        raise AssertionError("the two tokenisers give different ids")
    ours, theirs = samples.medians()
    seconds = {"ours": samples.seconds[0], "theirs": samples.seconds[1]}
    millions = sum(map(len, sequences)) / 1e6
    texts = (f"{millions / ours:,.2f} M residues/s", f"{millions / theirs:,.2f} M residues/s")
    notes = f"{source}, {len(sequences)} proteins; ids identical"
    return [Row("tokenise a FASTA", *texts, theirs / ours, 100, 250, notes=notes, samples=seconds)]


def masked_marginal_tokens(setting: Setting) -> list[Row]:
    """Tokens to run for the substitution targets of ProteinGym, beside its own script's."""
    from chaperonin.inference.score_plan import mutated_region, plan_tokens, read_reference

    measure = "masked-marginal tokens over ProteinGym's substitution targets"
    reference = setting.data / "dms" / "reference" / "DMS_substitutions.csv"
    if not reference.exists():
        return [not_run(measure, f"no {reference.name} (set CHAPERONIN_DATA)")]
    rows = read_reference(reference).values()
    plan = plan_tokens((row["target_seq"], mutated_region(row)) for row in rows)
    notes = f"{len(rows)} targets; only mutated positions, equal targets once, the same windows; {plan}"
    texts = (f"{plan.tokens / 1e6:,.1f} M tokens", f"{plan.official_tokens / 1e6:,.1f} M tokens")
    ratio = plan.official_tokens / plan.tokens
    return [Row(measure, *texts, ratio, 2.2, notes=notes, samples={"tokens": plan.tokens})]


def help_start(setting: Setting) -> list[Row]:
    """From the command to its help."""
    command = [sys.executable, "-m", "chaperonin.cli.main", "--help"]
    installed = Path(sys.executable).with_name("chaperonin")
    if installed.exists():
        command = [str(installed), "--help"]
    samples = setting.interleave([Side(_starter, {"command": command})])
    seconds = samples.medians()[0]
    return [
        Row(
            "start of `chaperonin --help`",
            f"{seconds:.2f} s",
            "-",
            seconds,
            *(0.5, 0.2),
            unit=" s",
            lower_is_better=True,
            samples={"ours": samples.seconds[0]},
        )
    ]


def _starter(command: list[str]) -> Callable[[], None]:
    def start() -> None:
        run(command, check=True, capture_output=True)

    return start
