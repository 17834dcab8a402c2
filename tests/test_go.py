"""`./go` on a machine that has Python and nothing else."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

GO = Path(__file__).parents[1] / "go"
TOOLS = ("sh", "cat", "cksum", "cp", "dirname", "env", "mkdir", "rm", "sed", "tar", "touch")

BLOCKER = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name in ("pip", "ensurepip"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Blocker())
"""

# What pip does here: an executable uv in the environment that it runs in, which notes how it is called.
PIP = """
import sys
from pathlib import Path
assert sys.argv[1:] == ["install", "--quiet", "--disable-pip-version-check", "uv==1.2.3"], sys.argv
uv = Path(sys.prefix, "bin/uv")
uv.write_text('#!/bin/sh\\necho "$@" >>calls\\n')
uv.chmod(0o755)
"""

APT = """[ -e "{home}/network" ] || exit 100
case $2 in
    update) touch "{home}/lists" ;;
    download) [ -e "{home}/lists" ] && cp "{home}/package.deb" ./python3-pip-whl_1_all.deb ;;
esac
"""


def command(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.fixture
def bare_debian(tmp_path: Path) -> Path:
    """A checkout beside commands that stand for those of Debian: python3 without pip, and an archive that has it."""
    wheels = tmp_path / "package/usr/share/python-wheels"
    wheels.mkdir(parents=True)
    with zipfile.ZipFile(wheels / "pip-1-py3-none-any.whl", "w") as wheel:
        wheel.writestr("pip/__init__.py", "")
        wheel.writestr("pip/__main__.py", PIP)
    subprocess.run(["tar", "-cf", tmp_path / "package.deb", "-C", tmp_path / "package", "usr"], check=True)
    (tmp_path / "blocker").mkdir()
    (tmp_path / "blocker/sitecustomize.py").write_text(BLOCKER)

    programs = tmp_path / "bin"
    programs.mkdir()
    for name in TOOLS:
        (programs / name).symlink_to(shutil.which(name) or name)
    base = Path(sys.base_prefix, f"bin/python3.{sys.version_info.minor}")
    command(programs / "python3", f'PYTHONPATH="{tmp_path}/blocker" exec "{base}" "$@"')
    command(programs / "apt-get", APT.format(home=tmp_path))
    command(programs / "dpkg-deb", 'exec tar -xf "$2" -C "$3"')

    checkout = tmp_path / "check out"
    checkout.mkdir()
    shutil.copy(GO, checkout)
    (checkout / "requirements.lock").write_text("uv==1.2.3\n")
    (checkout / "pyproject.toml").write_text("")
    return tmp_path


def setup(home: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [home / "check out/go", "setup"],
        env={"PATH": str(home / "bin")},
        capture_output=True,
        text=True,
        check=False,
    )


def test_setup_needs_python_alone(bare_debian: Path) -> None:
    (bare_debian / "network").touch()
    done = setup(bare_debian)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    calls = (bare_debian / "check out/calls").read_text().splitlines()
    assert calls[0] == "pip install --quiet -r requirements.lock"
    assert calls[1].startswith("pip install") and calls[1].endswith("--editable .")
    assert setup(bare_debian).stderr == ""
    assert len((bare_debian / "check out/calls").read_text().splitlines()) == 2


def test_setup_without_network_says_what_to_do_and_goes_on_later(bare_debian: Path) -> None:
    failed = setup(bare_debian)
    assert failed.returncode == 1 and "install python3-venv" in failed.stderr
    (bare_debian / "network").touch()
    assert setup(bare_debian).returncode == 0
