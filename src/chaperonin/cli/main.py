"""`chaperonin VERB …`: the program on one screen. A verb is imported when it is chosen, not before."""

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cyclopts import App

VERBS = {
    "embed": "vectors per residue and per protein",
    "score": "effects of variants: a table of mutants, or every single substitution of a protein",
    "contacts": "which residues touch: probability maps and pictures",
    "fold": "structures from sequences and alignments (AlphaFold 2)",
    "predict": "labels and calibrated probabilities from a fine-tuned model",
    "search": "the proteins that a text describes, or the texts that describe a protein (ProtST)",
    "train": "fine-tune a model on labelled proteins, or pre-train one",
    "evaluate": "how good a model is on labelled proteins; how near structures are to references",
    "serve": "an endpoint and a page for a model and its adapters",
    "bench": "what this machine reaches on your own model and data",
    "weights": "list, pull, verify and convert model weights",
    "doctor": "what this machine can do, and why",
}
"""Verb → what it does; its code is `chaperonin.cli.VERB`."""

SLEEP = {"OMP_WAIT_POLICY": "passive"}
"""Threads of OpenMP sleep when they have nothing to do. After every product of all cores they would turn in circles for
some milliseconds, on the cores that sequences, slices and compiled kernels need. Read when PyTorch is loaded."""

USAGE = """usage: chaperonin VERB INPUT OUTDIR [--option …]

INPUT is a FASTA, CSV or TSV file (also .gz) or a folder of them; results and report.html go to OUTDIR.
Run the same command again and it goes on where it stopped.

{verbs}

`chaperonin VERB --help` says the rest. Exit code: 0 all done, 1 nothing done or usage error, 3 some records failed."""


def main(arguments: list[str] | None = None) -> int:
    """Run one verb; returns the exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    if not words or words[0] in ("-h", "--help", "help"):
        lines = "\n".join(f"  {verb:<10} {does}" for verb, does in VERBS.items())
        print(USAGE.format(verbs=lines))
        return 0 if words else 1
    if words[0] in ("-V", "--version"):
        from importlib.metadata import version

        print(f"chaperonin {version('chaperonin')}")
        return 0
    if words[0] not in VERBS:
        print(f"chaperonin: there is no verb {words[0]!r}. There are: {', '.join(VERBS)}.", file=sys.stderr)
        return 1
    return _run(words[0], words[1:])


def app_of(verb: str) -> "App":
    """What reads the words behind a verb."""
    from cyclopts import App, Parameter

    module = import_module(f"chaperonin.cli.{verb}")
    if hasattr(module, "app"):
        return module.app
    usual = Parameter(negative_iterable="")
    app = App(name=f"chaperonin {verb}", help=module.__doc__, version_flags=[], default_parameter=usual)
    app.default(module.run)
    return app


def _run(verb: str, words: list[str]) -> int:
    import logging

    from cyclopts import CycloptsError

    from chaperonin.errors import ChaperoninError

    if verb not in ("train", "bench") and words[:1] != ["proteingym-supervised"]:  # these train
        os.environ.update(SLEEP | os.environ)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        code = app_of(verb)(words, exit_on_error=False, print_error=True, result_action="return_value")
    except CycloptsError:
        return 1
    except ChaperoninError as error:
        print(f"chaperonin {verb}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"chaperonin {verb}: stopped.", file=sys.stderr)
        return 1
    except BrokenPipeError:  # whoever read stdout has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code if isinstance(code, int) else 0


if __name__ == "__main__":
    sys.exit(main())
