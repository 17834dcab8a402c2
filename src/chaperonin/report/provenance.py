"""The parts that every report has: what the job did, what failed, and how to do it again."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from chaperonin.report.blocks import Code, Part, Section, Table, Terms
from chaperonin.report.files import read_lines
from chaperonin.report.wording import count, duration, mapping, measure, memory, number, shortened

RUN_FILE = "run.json"
FAILURES_FILE = "failures.jsonl"
MOST_FAILURES = 200


@dataclass(frozen=True)
class Fact:
    """One figure of the summary, with its name and what puts it in proportion."""

    name: str
    value: str
    detail: str = ""


def summary(run: Mapping[str, object], failed: int) -> list[Fact]:
    """Records, tokens, time and memory, as far as they are known."""
    records = mapping(run, "records")
    done, read, unique = (number(records, key) for key in ("done", "read", "unique"))
    facts = []
    if done is not None:
        facts.append(
            Fact("done", count(int(done)), f"of {count(int(read), 'record')}" if read is not None else "")
        )
    facts.append(Fact("failed", count(failed), "why: see Failures" if failed else "none"))
    if unique is not None:
        facts.append(Fact("computations", count(int(unique)), "equal ones only once"))
    seconds = _total_seconds(run)
    tokens = number(run, "tokens")
    if tokens is not None:
        speed = f"{tokens / seconds:,.0f} per second" if seconds else ""
        facts.append(Fact("tokens", count(int(tokens)), speed))
    if seconds is not None:
        facts.append(Fact("time", duration(seconds)))
    facts += _memory(mapping(run, "memory"))
    return facts


def _memory(used: Mapping[str, object]) -> list[Fact]:
    measured, predicted = number(used, "measured_bytes"), number(used, "predicted_bytes")
    if measured is None:
        return [] if predicted is None else [Fact("memory", memory(predicted), "predicted")]
    if not predicted:
        return [Fact("memory", memory(measured), "measured")]
    return [
        Fact("memory", memory(measured), f"predicted {memory(predicted)} ({predicted / measured - 1:+.0%})")
    ]


def _total_seconds(run: Mapping[str, object]) -> float | None:
    stages = mapping(run, "seconds")
    if not stages:
        return number(run, "seconds")
    values = [number(stages, stage) for stage in stages]
    total = number(stages, "total")
    return total if total is not None else sum(value for value in values if value is not None)


def failures_section(outdir: Path) -> tuple[Section | None, int]:
    """The first 200 failures and how many there are; no section when there is none."""
    rows: list[tuple[str, ...]] = []
    total = unreadable = 0
    for entry in read_lines(outdir / FAILURES_FILE):
        total += 1
        if entry is None:
            unreadable += 1
        elif len(rows) < MOST_FAILURES:
            rows.append(_failure(entry))
    if not total:
        return None, 0
    rest = total - unreadable - len(rows)
    note = f"{count(rest, 'further failure')} in {FAILURES_FILE}." if rest else ""
    if unreadable:
        note += f" {count(unreadable, 'line')} of it could not be read."
    columns = ("id", "record", "what was wrong", "where", "what to do")
    caption = count(total, "record") + " without a result"
    table = Table(caption, columns, rows, frozenset({1}), note.strip(), wide=True)
    return Section("failures", "Failures", [table]), total


def _failure(entry: Mapping[str, object]) -> tuple[str, ...]:
    texts = {key: "" if entry.get(key) is None else str(entry[key]) for key in _FAILURE_KEYS}
    what = f"{texts['error']} ({texts['stage']})" if texts["stage"] else texts["error"]
    return (
        shortened(texts["id"], 48),
        texts["record"],
        shortened(what, 400),
        shortened(texts["where"], 120),
        shortened(texts["advice"], 400),
    )


_FAILURE_KEYS = ("id", "record", "stage", "error", "where", "advice")


def provenance_section(run: Mapping[str, object]) -> Section | None:
    """Everything needed to do the job again; None when nothing was recorded."""
    if not run:
        return None
    model = mapping(run, "model")
    entries = [("model", _text(model.get("name")))]
    entries.append(("weights (sha256)", _text(model.get("sha256"))))
    parameters = number(model, "parameters")
    entries.append(("parameters", "" if parameters is None else count(int(parameters))))
    entries += [(key, _text(run.get(key))) for key in ("seed", "started", "finished")]
    entries += [_hardware(str(key), value) for key, value in mapping(run, "hardware").items()]
    parts: list[Part] = []
    if run.get("command"):
        command = run["command"]
        text = " ".join(map(str, command)) if isinstance(command, list) else str(command)
        parts.append(Code("Command", text))
    parts.append(Terms([(name, value) for name, value in entries if value]))
    versions = [(str(name), _text(version)) for name, version in mapping(run, "versions").items()]
    if versions:
        parts.append(Table("Versions", ("part", "version"), versions))
    stages = [
        (str(name), duration(number(mapping(run, "seconds"), name) or 0)) for name in mapping(run, "seconds")
    ]
    if stages:
        parts.append(Table("Time", ("stage", "time"), stages, frozenset({1})))
    if mapping(run, "config"):
        text = yaml.safe_dump(json.loads(json.dumps(run["config"])), sort_keys=False, allow_unicode=True)
        parts.append(Code("Resolved configuration", text.rstrip()))
    return Section("provenance", "Provenance", parts)


def _hardware(name: str, value: object) -> tuple[str, str]:
    if name.endswith("_bytes") and isinstance(value, int):
        return name.removesuffix("_bytes").replace("_", " "), memory(float(value))
    return name.replace("_", " "), _text(value)


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return measure(value)
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_text(inner)}" for key, inner in value.items())
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    return str(value)
