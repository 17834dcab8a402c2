"""Settings come from defaults, file, pairs and options in that order, and nothing unknown passes."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
import yaml

from chaperonin.config import as_dict, as_yaml, resolve
from chaperonin.errors import UsageError


@dataclass(frozen=True)
class Inner:
    rate: float = 0.1
    name: str = "adam"


@dataclass(frozen=True)
class Settings:
    steps: int = 10
    kind: Literal["a", "b"] = "a"
    inner: Inner = field(default_factory=Inner)
    folder: Path | None = None
    perhaps: Inner | None = None


def test_later_sources_win(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("steps: 20\ninner: {rate: 0.5, name: sgd}\n")
    settings = resolve(Settings, file=file, overrides=["inner.rate=0.7", "steps=30"], options={"steps": 40})
    assert settings == Settings(steps=40, inner=Inner(rate=0.7, name="sgd"))


def test_an_option_that_was_not_given_changes_nothing(tmp_path: Path) -> None:
    assert resolve(Settings, overrides=["steps=5"], options={"steps": None}).steps == 5


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["stps=3"], r"no setting is called stps\. Did you mean steps\? There are: steps, kind"),
        (
            ["inner.rat=3"],
            r"no setting is called inner\.rat\. Did you mean inner\.rate\? There are: inner\.rate, inner\.name\.$",
        ),
        (["inner.colour=3"], r"called inner\.colour\. There are: inner\.rate, inner\.name\.$"),
        (["perhaps.rat=3"], r"called perhaps\.rat\. Did you mean perhaps\.rate\?"),
        (["inner.rat=3", "stps=3"], r"called stps, inner\.rat\. Did you mean steps\?"),
        (["steps=many"], r"steps = 'many'"),
        (["kind=c"], r"kind = 'c'"),
        (["steps"], r"'steps' is not key=value"),
        (["steps={"], "is not YAML"),
        (["steps=1", "steps.deep=2"], "is a value, not a section"),
    ],
)
def test_a_wrong_setting_is_named(overrides: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        resolve(Settings, overrides=overrides)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"- a\n- b\n", "no `key: value` lines"), (b"\xff\xfe", "cannot be read"), (b"a: [", "is not YAML")],
)
def test_a_wrong_file_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "run.yaml"
    file.write_bytes(content)
    with pytest.raises(UsageError, match=message):
        resolve(Settings, file=file)
    with pytest.raises(UsageError, match="no such file"):
        resolve(Settings, file=tmp_path / "absent.yaml")


def test_resolved_settings_written_as_yaml_give_themselves(tmp_path: Path) -> None:
    settings = Settings(steps=3, inner=Inner(rate=0.25), folder=Path("x/y"))
    file = tmp_path / "run.yaml"
    file.write_text(as_yaml(settings))
    assert resolve(Settings, file=file) == settings
    assert yaml.safe_load(as_yaml(settings)) == as_dict(settings)
