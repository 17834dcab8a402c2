"""A visitor's way through the page at `/`: a true browser, a true server, the bundled model."""

import html
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect
from tests.serving.page_server import ADAPTERS, BASE, CLASSES, MODEL, PROTEINS, Endpoint, running_server
from tests.serving.visitor import defects

from chaperonin.data.sources import Record, csv_cell, read_records

FASTA = """>ubiquitin marks proteins
MQIFVKTLTGKTITLEVEPSDTIENVKAKIQDKEGIPPDQQRLIFAGKQLEDGRTLSDYN
IQKESTLHLVLRLRGG
>=SUM(A1) a formula
MTYKLILNGKTLKGETTTEAVDAATAEKVFKQYANDNGVDGEWTYDDATKTFTVTE
>aligned
MTYKL--NGK
>crambin
TTCCPSIVARSNFNVCRLPGTPEALCATYTGCIIIPGATCPGDYAN
>crambin
MGDVEKGKKIFIMKCSQCHTVEKGGKHKTGPNLHGLFGRKTGQAPGYSYTAANKNKGIIW
"""
GOOD = {
    "ubiquitin": "MQIFVKTLTGKTITLEVEPSDTIENVKAKIQDKEGIPPDQQRLIFAGKQLEDGRTLSDYNIQKESTLHLVLRLRGG",
    "=SUM(A1)": "MTYKLILNGKTLKGETTTEAVDAATAEKVFKQYANDNGVDGEWTYDDATKTFTVTE",
    "crambin": "TTCCPSIVARSNFNVCRLPGTPEALCATYTGCIIIPGATCPGDYAN",
    "crambin_2": "MGDVEKGKKIFIMKCSQCHTVEKGGKHKTGPNLHGLFGRKTGQAPGYSYTAANKNKGIIW",
}


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    with running_server(tmp_path_factory.mktemp("endpoint")) as running:
        yield running


def _named(proteins: dict[str, str]) -> list[dict[str, str]]:
    return [{"id": name, "sequence": sequence} for name, sequence in proteins.items()]


def test_stranger_is_asked_for_a_token(visitor):
    visitor.expected = ("401",)
    page = visitor.page
    response = page.goto(visitor.endpoint.url)
    assert response is not None and response.status == 401
    page.fill("input[name=token]", visitor.endpoint.token)
    page.keyboard.press("Enter")
    page.wait_for_selector("#model option", state="attached")
    assert page.url == visitor.endpoint.url + "/"
    expect(page.locator("#server")).to_contain_text(BASE)


def test_predictions_are_those_of_the_endpoint(visitor):
    page = visitor.enter()
    visitor.run(FASTA)
    expected = visitor.ask("/v1/predict", sequences=_named(GOOD), model=MODEL)["results"]
    rows = page.locator("#predictions tbody tr")
    assert rows.count() == len(GOOD)
    for row, one in zip(rows.all(), expected, strict=True):
        domain = "inside" if one["in_domain"] else "outside"
        cells = [one["id"], str(one["length"]), one["label"], f"{one['probability']:.3f}", domain]
        assert row.locator("th, td").all_inner_texts()[:-1] == cells
    failures = page.locator("#predictions .failures")
    expect(failures).to_contain_text("1 of 5 proteins could not be used")
    expect(failures).to_contain_text("aligned (no. 3): a gap (-) at residue 6.")
    expect(failures).to_contain_text("Remove the gaps")

    table = visitor.table("#save-predictions")
    assert [row["id"] for row in table] == [csv_cell(one["id"]) for one in expected]
    assert table[1]["id"] == "'=SUM(A1)"
    for row, one in zip(table, expected, strict=True):
        assert row["label"] == one["label"] and row["in_domain"] == str(one["in_domain"]).lower()
        shares = [float(row[f"p_{name}"]) for name in CLASSES]
        np.testing.assert_allclose(shares, [one["probabilities"][name] for name in CLASSES], atol=1e-6)

    page.get_by_role("button", name="Details of ubiquitin").click()
    shares = page.locator("#predictions-0 dd").all_inner_texts()[:3]
    largest_first = sorted(expected[0]["probabilities"].values(), reverse=True)
    assert shares == [f"{share:.3f}" for share in largest_first]
    page.get_by_role("button", name="Probability").click()
    order = page.locator("#predictions tbody tr:not(.details) .share").all_inner_texts()
    assert order == sorted(order, reverse=True)


@pytest.mark.parametrize("name", ADAPTERS)
def test_the_bundled_models_predict_and_their_page_is_a_picture(visitor, name: str, tmp_path: Path):
    page = visitor.enter()
    page.select_option("#model", name)
    visitor.run(PROTEINS.read_text())
    proteins = {one.id: one.sequence for one in read_records(PROTEINS) if isinstance(one, Record)}
    expected = visitor.ask("/v1/predict", sequences=_named(proteins), model=name)["results"]
    shown = [row.locator("th, td").all_inner_texts() for row in page.locator("#predictions tbody tr").all()]
    assert [row[0] for row in shown] == list(proteins)
    for row, one in zip(shown, expected, strict=True):
        assert row[2:4] == [one["label"], f"{one['probability']:.3f}"]
    assert len({row[2] for row in shown}) > 1
    page.screenshot(path=tmp_path / "page.png", full_page=True)
    with Image.open(tmp_path / "page.png") as picture:
        colours = picture.convert("RGB").getcolors(1 << 24)
    assert colours is not None and len(colours) > 50
    assert max(count for count, _ in colours) < 0.95 * sum(count for count, _ in colours)


def test_a_file_that_is_dropped_is_read(visitor):
    page = visitor.enter()
    dropped = page.evaluate_handle(
        """(text) => {
          const dropped = new DataTransfer();
          dropped.items.add(new File([text], "proteins.fasta", { type: "text/plain" }));
          return dropped;
        }""",
        FASTA,
    )
    drop = page.locator("#drop")
    drop.dispatch_event("dragover", {"dataTransfer": dropped})
    expect(drop).to_have_class(re.compile(r"\bover\b"))
    drop.dispatch_event("drop", {"dataTransfer": dropped})
    expect(drop).not_to_have_class(re.compile(r"\bover\b"))
    expect(page.locator("#reading")).to_contain_text("5 proteins")
    visitor.run()
    assert page.locator("#predictions tbody th").all_inner_texts() == list(GOOD)


def test_embeddings_are_those_of_the_endpoint_and_projected_as_numpy_does(visitor):
    page = visitor.enter()
    visitor.run(PROTEINS.read_text())
    page.click("#tab-embeddings")
    got = json.loads(visitor.download("#save-embeddings-json"))
    vectors = np.array([one["embedding"] for one in got["results"]])
    records = [record for record in read_records(PROTEINS) if isinstance(record, Record)]
    first = visitor.ask("/v1/embed", sequences=[records[0].sequence], model=MODEL)["results"][0]["embedding"]
    np.testing.assert_allclose(vectors[0], first, atol=2e-5)
    table = visitor.table("#save-embeddings-csv")
    assert [row["id"] for row in table] == [record.id for record in records]
    assert float(table[3]["e7"]) == vectors[3, 6]

    centred = vectors - vectors.mean(axis=0)
    _, singular, axes = np.linalg.svd(centred, full_matrices=False)
    axes = axes[:2] * np.sign(np.take_along_axis(axes[:2], np.abs(axes[:2]).argmax(axis=1)[:, None], axis=1))
    places = [
        [float(row["component_1"]), float(row["component_2"])] for row in visitor.table("#save-projection")
    ]
    np.testing.assert_allclose(places, centred @ axes.T, atol=1e-4 * singular[0])
    assert page.locator("#projection circle").count() == len(records)
    share = (singular[0] ** 2 / (singular**2).sum()) * 100
    expect(page.locator("#projection")).to_contain_text(f"component 1, {share:.1f} %")


def test_contact_map_is_that_of_the_endpoint(visitor):
    page = visitor.enter()
    visitor.run(FASTA)
    page.click("#tab-contacts")
    page.select_option("#contact-protein", label="crambin")
    canvas = page.locator("#contact-map")
    canvas.wait_for()
    expect(canvas).to_have_attribute("aria-label", re.compile("Contact map of crambin, 46 residues"))
    contacts = np.array(visitor.ask("/v1/contacts", sequences=[GOOD["crambin"]])["results"][0]["contacts"])
    box = canvas.bounding_box()
    assert box is not None and box["width"] == box["height"]
    canvas.focus()
    for key in ["ArrowRight"] * 30 + ["ArrowDown"] * 4:
        page.keyboard.press(key)
    readout = page.locator("#contacts .readout")
    expect(readout.locator("b")).to_have_text(f"{contacts[4, 30]:.3f}")
    expect(readout).to_contain_text(f"P5 – {GOOD['crambin'][30]}31, 26 apart")
    table = visitor.table("#save-contacts-csv")
    got = {(int(row["i"]), int(row["j"])): float(row["probability"]) for row in table}
    assert got == {(i + 1, j + 1): contacts[i, j] for i in range(46) for j in range(i + 1, 46)}
    picture = visitor.download("#save-contacts-png")
    assert picture[:8] == b"\x89PNG\r\n\x1a\n"
    assert int.from_bytes(picture[16:20]) == 1800 and int.from_bytes(picture[20:24]) == 1880


@pytest.mark.parametrize("protocol", ["masked-marginal", "wt-marginal"])
def test_variants_are_scored_as_by_the_endpoint(visitor, protocol):
    page = visitor.enter()
    visitor.run(f">crambin\n{GOOD['crambin']}")
    page.click("#tab-variants")
    page.select_option("#protocol", protocol)
    page.click("#scan")
    page.wait_for_selector("#variant-map")
    expected = visitor.ask("/v1/score", sequence=GOOD["crambin"], protocol=protocol)["scores"]
    table = {row["mutant"]: float(row["score"]) for row in visitor.table("#save-variants-csv")}
    assert len(table) == 46 * 19
    assert table == pytest.approx({one["mutant"]: one["score"] for one in expected}, abs=1e-4)
    page.locator("#variant-map").focus()
    page.keyboard.press("ArrowRight")  # from the upper left: position 2, K
    score = table["T2K"]
    expect(page.locator("#variants .readout b")).to_have_text(f"{'−' if score < 0 else '+'}{abs(score):.2f}")


def test_many_sequences_go_in_chunks_and_a_busy_server_is_waited_for(visitor):
    visitor.expected = ("429", "503")
    page = visitor.enter()
    sizes: list[int] = []
    refusals = [(429, "1"), (503, "1")]

    def answer(route: Any) -> None:
        if refusals:
            status, seconds = refusals.pop()
            body = {"error": "busy", "error_type": "busy", "request_id": "r", "details": []}
            route.fulfill(status=status, headers={"Retry-After": seconds}, json=body)
            return
        sizes.append(len(route.request.post_data_json["sequences"]))
        route.continue_()

    page.route("**/v1/predict", answer)
    page.fill("#sequences", "\n".join(f">p{number}\n{GOOD['crambin']}" for number in range(150)))
    expect(page.locator("#reading")).to_contain_text("150 proteins, 6,900 residues · FASTA")
    page.click("#run")
    expect(page.locator("#wait")).to_contain_text("The server is not ready: trying again in 1 s")
    expect(page.locator("#wait")).to_contain_text("The server is busy: trying again in 1 s (attempt 3 of 8)")
    page.wait_for_selector("#run:visible")
    expect(page.locator("#wait")).to_be_hidden()
    assert sizes == [64, 64, 22]
    expect(page.locator("#predictions .summary")).to_contain_text("150 proteins")
    assert page.locator("#predictions tbody tr").count() == 100
    page.get_by_role("button", name="Show more (50 left)").click()
    assert page.locator("#predictions tbody tr").count() == 150


def test_a_chunk_that_is_refused_costs_only_the_protein_at_fault(visitor):
    visitor.expected = ("422",)
    page = visitor.enter()

    def answer(route: Any) -> None:
        if "crambin_2" in (route.request.post_data or ""):
            route.fulfill(
                status=422,
                json={"error": "not this one", "error_type": "x", "request_id": "r", "details": []},
            )
        else:
            route.continue_()

    page.route("**/v1/predict", answer)
    visitor.run(FASTA)
    assert page.locator("#predictions tbody th").all_inner_texts() == ["ubiquitin", "=SUM(A1)", "crambin"]
    expect(page.locator("#predictions .failures")).to_contain_text("crambin_2: not this one.")


def test_errors_are_shown_with_their_request(visitor):
    visitor.expected = ("500", "ERR_FAILED")
    page = visitor.enter()
    body = {
        "error": "An error of ours.",
        "error_type": "x",
        "request_id": "abc-123",
        "details": [{"part": "<b>worker</b>"}],
    }
    page.route("**/v1/predict", lambda route: route.fulfill(status=500, json=body))
    visitor.run(FASTA)
    error = page.get_by_role("alert")
    expect(error).to_contain_text("An error of ours.")
    expect(error).to_contain_text("Request abc-123")
    expect(error).to_contain_text("part: <b>worker</b>")
    page.unroute("**/v1/predict")
    page.route("**/v1/predict", lambda route: route.abort())
    visitor.run()
    expect(error).to_contain_text("The server cannot be reached")
    page.unroute("**/v1/predict")
    visitor.run()
    expect(error).to_be_hidden()


def test_a_lost_token_is_asked_for_and_the_text_is_kept(visitor):
    visitor.expected = ("401",)
    page = visitor.enter()
    visitor.context.clear_cookies()
    page.fill("#sequences", FASTA)
    page.click("#run")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.fill("#token", visitor.endpoint.token)
    page.keyboard.press("Enter")
    page.wait_for_selector("#model option", state="attached")
    assert page.input_value("#sequences") == FASTA
    expect(page.get_by_role("dialog")).to_be_hidden()


def test_values_and_labels_of_residues_are_shown_too(visitor):
    """Tasks that the served model has not: the endpoint's answers for them, as its schema has them."""
    page = visitor.page
    tasks = {"stability": ("sequence", "regression", []), "helix": ("residue", "multiclass", ["H", "E", "C"])}
    models = [
        {"name": name, "task": {"level": level, "kind": kind, "classes": classes}, "is_default": False}
        for name, (level, kind, classes) in tasks.items()
    ]
    page.route(
        "**/v1/models", lambda route: route.fulfill(json={"base": {}, "models": models, "folders": []})
    )
    answers = {
        "stability": {"value": -1.25, "interval": 0.5},
        "helix": {"label": "HHHHHCCCCCEEEEECCCCCHHHHHC", "probability": 0.75, "residues": []},
    }

    def answer(route: Any) -> None:
        body = route.request.post_data_json
        one = {"id": "a", "length": 26, "notes": [], **answers[body["model"]]}
        route.fulfill(json={"model": body["model"], "results": [one], "failures": []})

    page.route("**/v1/predict", answer)
    page.route(
        "**/v1/embed",
        lambda route: route.fulfill(
            json={
                "model": "",
                "results": [{"id": "a", "length": 26, "embedding": [1, 2], "notes": []}],
                "failures": [],
            }
        ),
    )
    page.goto(f"{visitor.endpoint.url}/?token={visitor.endpoint.token}")
    page.wait_for_selector("#model option", state="attached")
    visitor.run(f">a\n{'ACDEFGHIKLMNPQRSTVWYACDEFG'}")
    expect(page.locator("#predictions tbody tr")).to_have_text(re.compile("-1.250 ± 0.500"))
    assert visitor.table("#save-predictions") == [
        {"id": "a", "value": "-1.25", "low": "-1.75", "high": "-0.75", "in_domain": "", "distance": ""}
    ]
    page.select_option("#model", "helix")
    visitor.run()
    expect(page.locator("#predictions tbody tr")).to_have_text(re.compile("HHHHHCCCCCEEEEECCC…0.750"))
    page.get_by_role("button", name="Details of a").click()
    expect(page.locator(".residues")).to_have_text(answers["helix"]["label"])
    assert visitor.table("#save-predictions")[0]["label"] == answers["helix"]["label"]


def test_hostile_names_stay_text(visitor):
    page = visitor.enter()
    hostile = '<img/src=x/onerror=alert(1)>"&amp;'
    visitor.run(f">{hostile}\n{GOOD['crambin']}\n>other\n{GOOD['ubiquitin']}\n>gap\nM-K")
    expect(page.locator("#predictions tbody th").first).to_have_text(hostile)
    for tab in ("embeddings", "contacts"):
        page.click(f"#tab-{tab}")
        expect(page.locator(f"#{tab}")).to_contain_text(html.unescape("<img/src=x"))
    assert page.locator("img").count() == 0


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("MKTAYIAKQR", "1 protein, 10 residues · plain sequence"),
        ("MKTAYIAKQR\nMKLV", "2 proteins, 14 residues · one sequence a line"),
        (f"{'ACDEFGHIKL' * 6}\n{'ACDEFGHIKL' * 6}\nMKL", "1 protein, 123 residues · plain sequence"),
        ("  1 " + "acdefghikl " * 6 + "\n 61 " + "acdefghikl", "1 protein, 70 residues · plain sequence"),
        ('id,sequence\n"a,b",MKT\nc,"MK\nLV"\n', "2 proteins, 7 residues · table"),
        ("name;Sequence\na;MKT\n", "1 protein, 3 residues · table"),
        ("\ufeff>a\r\nMKT\r\nAAA\r\n>b\r\nMK", "2 proteins, 8 residues · FASTA"),
        ("id,seqs\na,MKT", "no column “sequence”, only “id”, “seqs”"),
        ('id,sequence\n"a,MKT', "never closed"),
    ],
)
def test_formats_are_recognised(visitor, text, found):
    page = visitor.enter()
    page.evaluate(
        "text => { const field = document.getElementById('sequences'); field.value = text;"
        " field.dispatchEvent(new Event('input')); }",
        text,
    )
    expect(page.locator("#reading")).to_contain_text(found)


def test_files_are_opened_and_examples_added_once(visitor, tmp_path):
    page = visitor.enter()
    long = tmp_path / "many.fasta"
    long.write_text("".join(f">p{number}\n{GOOD['ubiquitin']}\n" for number in range(5_000)))
    page.set_input_files("#file", long)
    expect(page.locator("#reading")).to_contain_text("many.fasta: 5,000 proteins, 380,000 residues · FASTA")
    expect(page.locator("#sequences")).to_be_disabled()
    page.click("#clear")
    page.get_by_role("button", name="GFP").click()
    page.get_by_role("button", name="All", exact=True).click()
    expect(page.locator("#reading")).to_contain_text("4 proteins, 845 residues")


def test_everything_can_be_reached_by_keyboard(visitor):
    page = visitor.enter()
    expect(page.locator("#prompts")).to_be_hidden()  # this model reads no texts
    expect(page.locator("#tab-descriptions")).to_be_hidden()
    page.focus("#sequences")
    page.keyboard.type(f">a\n{GOOD['crambin']}")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector("#save-predictions")
    page.focus("#tab-predictions")
    for name in ("embeddings", "contacts", "variants", "predictions"):
        page.keyboard.press("ArrowRight")
        expect(page.locator(f"#tab-{name}")).to_be_focused()
        expect(page.locator(f"#{name}")).to_be_visible()
        assert page.locator("[role=tabpanel]:visible").count() == 1


@pytest.mark.parametrize(
    "visitor",
    [{"viewport": {"width": 375, "height": 812}}, {"color_scheme": "dark"}],
    indirect=True,
    ids=["phone", "dark"],
)
def test_every_panel_has_names_fits_and_is_readable(visitor):
    page = visitor.enter()
    visitor.run(FASTA)
    page.get_by_role("button", name="Details of ubiquitin").click()
    for name in ("predictions", "embeddings", "contacts", "variants"):
        page.click(f"#tab-{name}")
        if name == "contacts":
            page.wait_for_selector("#contact-map")
        if name == "variants":
            page.click("#scan")
            page.wait_for_selector("#variant-map")
        assert defects(page) == []
