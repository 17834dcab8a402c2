"""Structures to turn: what stands in the page, and what a true browser makes of it without a network."""

import hashlib
import json
import re
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, sync_playwright
from tests.chromium import QUIET, chromium
from tests.inference.test_fold_output import WARNING
from tests.protein.trp_cage import model
from tests.report.test_fold_section import folded

from chaperonin.inference.fold_output import Prediction, write_predictions
from chaperonin.inference.fold_table import Row, write_summary
from chaperonin.protein.structure import read_structure
from chaperonin.report import write_report
from chaperonin.report.structure_view import backbone_pdb

VIEWER = Path(__file__).resolve().parents[2] / "src/chaperonin/report/viewer"
WEBGL = ["--use-angle=swiftshader", "--enable-unsafe-swiftshader"]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a small protein, and of seven scattered residues that a network of random weights made."""
    outdir = tmp_path_factory.mktemp("fold")
    prediction = Prediction(model(1, 70), "model_1", 0)
    write_predictions(outdir, "cage", [prediction])
    name = "cage_unrelaxed_rank_001_alphafold2_ptm_model_1_seed_000.pdb"
    rows = [
        Row("cage", "cage", 20, 1, "model_1", 70, None, name, ""),
        folded(outdir, "random", 50, WARNING),
    ]
    write_summary(outdir, rows)
    (outdir / "run.json").write_text(json.dumps({"verb": "fold", "records": {"done": 2}}))
    return write_report(outdir)


def test_the_backbone_is_what_it_was(tmp_path: Path) -> None:
    (tmp_path / "a.pdb").write_text(str(backbone_pdb(model(2))))
    found = read_structure(tmp_path / "a.pdb")
    np.testing.assert_allclose(found.positions[:, :3], model(2).positions[:, :3], atol=6e-4)
    np.testing.assert_allclose(found.confidence, model(2).confidence, atol=0.006)
    assert found.atom_mask.sum() == 4 * 20 and found.sequence == model(2).sequence


def test_only_the_two_scripts_of_the_page_may_run(report: Path) -> None:
    html = report.read_text(encoding="utf-8")
    scripts = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    assert len(scripts) == 2 and html.count("<script") == 2 + 2  # and the atoms of two proteins
    digests = [b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts]
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', html)
    assert policy and policy[1].startswith("default-src 'none'; script-src ")
    assert re.findall(r"'sha256-([^']*)'", policy[1]) == digests and "eval" not in policy[1]
    assert (VIEWER / "3Dmol-min.js").read_text() in scripts[0]
    assert "Redistribution and use in source and binary forms" in scripts[0]
    assert "it runs only what draws the structures" in html


def test_the_library_is_the_published_one() -> None:
    """Of the version that package.json pins; where npm has unpacked it, the file is that file."""
    pinned = json.loads((VIEWER / "package-lock.json").read_text())["packages"]["node_modules/3dmol"][
        "version"
    ]
    text = (VIEWER / "3Dmol-min.js").read_text()
    assert json.loads((VIEWER / "package.json").read_text())["devDependencies"] == {"3dmol": pinned}
    assert (
        hashlib.sha256(text.encode()).hexdigest()
        == "f7cc78921ae72e7623e89cdd111434f58c2efddd2ffda1cd212644b406fb8016"
    )
    assert "</script" not in text and "*/" not in (VIEWER / "3Dmol-LICENSE.txt").read_text()
    unpacked = VIEWER / "node_modules/3dmol/build/3Dmol-min.js"
    assert not unpacked.is_file() or unpacked.read_text() == text


def visit(browser: Browser, report: Path, width: int, wrong: list[str]) -> Page:
    """The page in a window that remembers every error and every request but its own."""
    page = browser.new_context(viewport={"width": width, "height": 900}).new_page()
    page.set_default_timeout(60_000)
    page.on("console", lambda said: wrong.append(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda one: None if one.url == report.as_uri() else wrong.append(one.url))
    page.goto(report.as_uri())
    return page


@pytest.fixture(scope="module", params=[True, False], ids=["with WebGL", "without"])
def browser(request: pytest.FixtureRequest) -> Iterator[tuple[Browser, bool]]:
    path = chromium()
    with sync_playwright() as playwright:
        words = WEBGL if request.param else ["--disable-gpu", "--disable-3d-apis"]
        opened = playwright.chromium.launch(executable_path=path, args=[*QUIET, *words])
        yield opened, request.param
        opened.close()


COLOURS = """(canvas) => {
    const copy = document.createElement("canvas");
    [copy.width, copy.height] = [canvas.width, canvas.height];
    const paint = copy.getContext("2d");
    paint.drawImage(canvas, 0, 0);
    const pixels = paint.getImageData(0, 0, copy.width, copy.height).data;
    const found = { blue: 0, cyan: 0, yellow: 0, orange: 0, all: pixels.length / 4 };
    for (let at = 0; at < pixels.length; at += 4) {
        const [red, green, blue] = pixels.slice(at, at + 3);
        if (blue > 100 && red < blue / 8 && green < blue / 2) found.blue++;
        else if (blue > 100 && red < blue * 0.6 && green > blue * 0.7) found.cyan++;
        else if (red > 100 && blue < red / 3 && green > red * 0.75) found.yellow++;
        else if (red > 100 && blue < red / 2 && green < red * 0.6) found.orange++;
    }
    return found;
}"""


@pytest.mark.parametrize("width", [1280, 390])
def test_a_browser_draws_the_structures_or_says_why_not(
    browser: tuple[Browser, bool], width: int, report: Path
) -> None:
    opened, has_webgl = browser
    wrong: list[str] = []
    page = visit(opened, report, width, wrong)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    first = page.locator(".stage").first
    first.scroll_into_view_if_needed()
    if has_webgl:
        page.wait_for_selector(".stage.drawn")
        assert not first.locator(".without").is_visible()
        found = first.locator("canvas").evaluate(COLOURS)
        # Residues have pLDDT 60 to 80: two of the four colours.
        assert min(found["cyan"], found["yellow"]) > found["all"] / 500, found
        assert max(found["blue"], found["orange"]) < found["all"] / 500, found
    else:
        assert "JavaScript and WebGL" in first.locator(".without").inner_text()
        assert "cage_unrelaxed_rank_001" in first.locator(".without").inner_text()
    assert page.locator(".stamp").inner_text() == WARNING
    assert not wrong
    page.context.close()


def test_a_structure_turns_when_it_was_clicked(browser: tuple[Browser, bool], report: Path) -> None:
    opened, has_webgl = browser
    if not has_webgl:
        return  # nothing to turn; the test above sees what is said instead
    wrong: list[str] = []
    page = visit(opened, report, 1280, wrong)
    page.wait_for_selector(".stage.drawn")
    stage, canvas = page.locator(".stage").first, page.locator(".stage canvas").first
    before = canvas.screenshot()
    stage.click()
    assert "active" in (stage.get_attribute("class") or "")
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    page.wait_for_timeout(100)
    assert canvas.screenshot() != before
    page.keyboard.press("Escape")
    assert "active" not in (stage.get_attribute("class") or "")
    assert not wrong
    page.context.close()
