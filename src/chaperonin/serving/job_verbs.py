"""What a job may be: the verbs, the settings that a client may give, and nothing that names a file."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chaperonin.config import resolve
from chaperonin.errors import UsageError
from chaperonin.inference.jobs import Outcome
from chaperonin.layers.language import LanguageModel
from chaperonin.serving.errors import Refusal
from chaperonin.serving.models import Served

JOB_TOKENS = 2048
"""Tokens of a job's batches: live requests wait for one at most. Fixed, so that the same job gives the same bytes."""


@dataclass(frozen=True)
class JobVerb:
    """A verb over a folder: its settings, and those of them that a client may give."""

    settings: type[Any]
    run: Callable[..., Outcome]
    allowed: tuple[str, ...]


def _verb(name: str) -> JobVerb:
    """The verb; imported here because each brings its own heavy parts."""
    if name == "embed":
        from chaperonin.inference.embed import EmbedSettings, embed_job

        return JobVerb(EmbedSettings, embed_job, ("level", "long", "unknown", "compression"))
    if name == "contacts":
        from chaperonin.inference.contacts import ContactSettings, contacts_job

        return JobVerb(ContactSettings, contacts_job, ("long", "unknown"))
    if name == "score":
        from chaperonin.inference.score import ScoreSettings, score_job

        return JobVerb(ScoreSettings, score_job, ("protocol",))
    from chaperonin.inference.predict import PredictSettings, predict_job

    return JobVerb(PredictSettings, predict_job, ("long", "unknown"))


def require_settings(name: str, given: Mapping[str, Any], served: Served) -> None:
    """Refusal (422) for settings that the verb has not, or that are not a client's to give."""
    if name == "predict" and served.trained is None:
        raise Refusal(422, "no_task", f"{served.name} has no task to predict.")
    verb = _verb(name)
    if unknown := sorted(set(given) - set(verb.allowed)):
        raise Refusal(
            422,
            "settings",
            f"{name} has no setting {', '.join(unknown)[:200]}. There are: {', '.join(verb.allowed)}.",
        )
    try:
        _resolved(verb, given)
    except UsageError as error:
        raise Refusal(422, "settings", str(error)) from error


def run_verb(
    name: str, model: LanguageModel, source: Path, outdir: Path, given: Mapping[str, Any]
) -> Outcome:
    """Do the job, or go on with it, and write its report."""
    verb = _verb(name)
    outcome = verb.run(model, source, outdir, _resolved(verb, given))
    from chaperonin.report import write_report

    write_report(outdir)
    return outcome


def _resolved(verb: JobVerb, given: Mapping[str, Any]) -> Any:
    return resolve(verb.settings, options={**given, "batch_tokens": JOB_TOKENS})
