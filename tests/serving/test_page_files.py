"""What is shipped of the page: built files belong to their source and ask nobody else for anything."""

import hashlib
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.serving.page_server import PROTEINS

from chaperonin.data.prompts import read_prompts
from chaperonin.data.sources import Record, read_records

PAGE = Path(__file__).resolve().parents[2] / "src" / "chaperonin" / "serving" / "page"
BUILT, SOURCE = PAGE / "built", PAGE / "source"
RECIPE = ("build.mjs", "package-lock.json", "package.json", "tsconfig.json")


def test_built_files_belong_to_their_source():
    names = sorted([*RECIPE, *(f"source/{path.name}" for path in SOURCE.iterdir())])
    digest = hashlib.sha256()
    for name in names:
        digest.update(name.encode() + b"\0" + (PAGE / name).read_bytes() + b"\0")
    first = (BUILT / "page.js").read_text().splitlines()[0]
    assert first == f"/* sources sha256:{digest.hexdigest()} */", (
        "run `npm ci && npm run build` in the page's folder"
    )
    for path in SOURCE.iterdir():
        if path.suffix != ".ts":
            assert (BUILT / path.name).read_bytes() == path.read_bytes(), path.name
    assert {path.name for path in BUILT.iterdir()} == {"icon.svg", "index.html", "page.css", "page.js"}


def test_a_new_build_is_the_same(tmp_path):
    node = shutil.which("node")
    if node is None or not (PAGE / "node_modules" / "esbuild").is_dir():
        pytest.skip("no node, or no node_modules: `npm ci` in the page's folder")
    subprocess.run([node, PAGE / "build.mjs", tmp_path], check=True)
    for path in BUILT.iterdir():
        assert (tmp_path / path.name).read_bytes() == path.read_bytes(), path.name


def test_nothing_inline_and_no_other_host():
    index = (BUILT / "index.html").read_text()
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\bstyle=|\bon\w+=", index)
    for name in ("index.html", "page.css", "page.js", "icon.svg"):
        text = (BUILT / name).read_text().replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?:|//\w+\.\w+/|@import", text), name
    code = (BUILT / "page.js").read_text()
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", code
    )


def test_examples_are_those_of_the_examples_folder():
    known = {record.id: record.sequence for record in read_records(PROTEINS) if isinstance(record, Record)}
    blocks = re.findall(r"fasta: \[(.*?)\]", (SOURCE / "examples.ts").read_text(), re.DOTALL)
    assert len(blocks) == 4
    for block in blocks:
        header, *lines = re.findall(r'"([^"]*)"', block)
        assert "".join(lines) == known[header[1:].split()[0]]
    places = [f"{prompt.label}\t{prompt.text}" for prompt in read_prompts(PROTEINS.with_name("places.tsv"))]
    lines = re.search(r"PLACES: .*? = (\[.*?\]);", (SOURCE / "examples.ts").read_text(), re.DOTALL)
    assert lines is not None and json.loads(lines[1].replace(",\n]", "]")) == places
