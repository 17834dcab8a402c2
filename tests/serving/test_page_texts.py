"""A visitor's way through the page where a ProtST is served: descriptions, and what is compared with them."""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from tests.inference.tiny_protst import write_protst
from tests.serving.page_server import Endpoint, serving
from tests.serving.visitor import Visitor, defects

from chaperonin.data.sources import csv_cell

SEQUENCES = {
    "ubiquitin": "MQIFVKTLTGKTITLEVEPSDTIENVKAKIQDKEGIPPDQQRLIFAGKQLEDGRTLSDYNIQKESTLHLVLRLRGG",
    "=SUM(A1)": "MTYKLILNGKTLKGETTTEAVDAATAEKVFKQYANDNGVDGEWTYDDATKTFTVTE",
    "crambin": "TTCCPSIVARSNFNVCRLPGTPEALCATYTGCIIIPGATCPGDYAN",
    "barstar": "MKKAVINGEQIRSISDLHQTLKKELALPEYYGENLDALWDCLTGWVEYPLVLEWRQFEQSKQLTENGAESVLQVFREAKAEGCDITIILS",
}
NAMED = [{"id": id, "sequence": sequence} for id, sequence in SEQUENCES.items()]
FASTA = "".join(f">{id}\n{sequence}\n" for id, sequence in SEQUENCES.items())
SENTENCE = "A protein located in the mitochondrion."
TEXTS: list[Any] = [
    SENTENCE,
    *({"label": word, "text": f"located in the {word}"} for word in ("nucleus", "membrane")),
]
LABELS = [SENTENCE, "nucleus", "membrane"]
TYPED = f"\n{SENTENCE}  \n\nnucleus\tlocated in the nucleus\n membrane\tlocated in the membrane\n"


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    folder = tmp_path_factory.mktemp("texts")
    write_protst(folder / "protst")
    with serving(str(folder / "protst"), folder) as running:
        yield running


def enter(visitor: Visitor, descriptions: str) -> Page:
    page = visitor.enter("protst")
    page.fill("#prompts", descriptions)
    return page


def shown(page: Page) -> list[list[str]]:
    """Cells of the table's rows."""
    rows = page.locator("#descriptions tbody tr:not(.details):not(.details tr)").all()
    return [row.locator("th, td").all_inner_texts() for row in rows]


def numbers(texts: list[str]) -> Any:
    """What stands there with three decimals, as it compares to numbers."""
    return pytest.approx([float(text.replace("−", "-")) for text in texts], abs=6e-4)


def test_classes_in_words_are_those_of_the_endpoint(visitor: Visitor) -> None:
    page = enter(visitor, TYPED)
    expect(page.locator("#prompts-reading")).to_have_text("3 descriptions: each protein gets its best")
    visitor.run(FASTA + ">aligned\nMK--T\n")
    expect(page.locator("#descriptions")).to_be_visible()  # a model without a task has no predictions
    expected = visitor.ask("/v1/zero-shot", sequences=NAMED, texts=TEXTS)["results"]
    rows = shown(page)
    assert [row[:2] for row in rows] == [[one["id"], one["label"]] for one in expected]
    assert [one["probability"] for one in expected] == numbers([row[2] for row in rows])
    assert [one["cosines"][one["label"]] for one in expected] == numbers([row[3] for row in rows])
    expect(page.locator("#descriptions .failures")).to_contain_text(
        "aligned (no. 5): a gap (-) at residue 3."
    )

    table = visitor.table("#save-descriptions")
    assert [row["id"] for row in table] == [csv_cell(id) for id in SEQUENCES]
    for row, one in zip(table, expected, strict=True):
        assert row["label"] == one["label"] and float(row["probability"]) == pytest.approx(
            one["probability"], abs=2e-5
        )
        for label in LABELS:
            assert float(row[f"p_{label}"]) == pytest.approx(one["probabilities"][label], abs=2e-5)
            assert float(row[f"cosine_{label}"]) == pytest.approx(one["cosines"][label], abs=2e-6)

    page.get_by_role("button", name="Details of crambin").click()
    opened = [row.locator("th, td").all_inner_texts() for row in page.locator(".details tbody tr").all()]
    crambin = expected[2]
    best_first = sorted(LABELS, key=lambda label: -crambin["probabilities"][label])
    assert [row[0] for row in opened] == best_first
    assert [crambin["probabilities"][label] for label in best_first] == numbers([row[1] for row in opened])
    assert [crambin["cosines"][label] for label in best_first] == numbers([row[2] for row in opened])

    page.select_option("#rank-by", "nucleus")
    ranked = sorted(expected, key=lambda one: -one["cosines"]["nucleus"])
    rows = shown(page)
    assert [row[0] for row in rows] == [one["id"] for one in ranked]
    assert [one["cosines"]["nucleus"] for one in ranked] == numbers([row[3] for row in rows])
    expect(page.locator("#rank-by")).to_be_focused()


def test_one_description_ranks_the_proteins_in_chunks_and_is_named_where_it_is_cut(visitor: Visitor) -> None:
    long = "located in the nucleus " * 60
    label = long[:200].strip()
    page = enter(visitor, long)
    expect(page.locator("#prompts-reading")).to_have_text("1 description: ranks the proteins")
    many = {f"{id}_{start}": sequence[start:] for id, sequence in SEQUENCES.items() for start in range(20)}
    visitor.run("".join(f">{id}\n{sequence}\n" for id, sequence in many.items()))
    named = [{"id": id, "sequence": sequence} for id, sequence in many.items()]
    answer = visitor.ask("/v1/search", sequences=named, texts=[{"label": label, "text": long}], top=80)
    expected = {hit["id"]: hit["cosine"] for hit in answer["hits"]}
    rows = shown(page)
    assert [expected[id] for id, _ in rows] == numbers([cosine for _, cosine in rows]) and len(rows) == 80
    table = visitor.table("#save-descriptions")
    assert [csv_cell(id) for id in many] == [row["id"] for row in table]
    cosines = {id: float(row[f"cosine_{label}"]) for id, row in zip(many, table, strict=True)}
    assert cosines == pytest.approx(expected, abs=2e-6)
    assert [id for id, _ in rows] == sorted(cosines, key=lambda id: -cosines[id])
    (note,) = answer["notes"]
    assert page.locator("#descriptions .attention p").all_inner_texts() == [f"Note: {note}."]


def test_a_description_that_cannot_be_used_is_named(visitor: Visitor) -> None:
    visitor.expected = ("422",)
    page = enter(visitor, f"{TYPED}🧬🧬")
    visitor.run(FASTA)
    expect(page.get_by_role("alert")).to_contain_text(
        "Description 4: '🧬🧬': no word that the model knows. Write words, in English."
    )
    expect(page.locator(".failures")).to_have_count(0)  # no protein is at fault
    page.fill("#prompts", f"{TYPED}nucleus\tsomewhere else")
    expect(page.locator("#prompts-reading")).to_have_text("“nucleus” is there twice: give each once.")
    expect(page.locator("#run")).to_be_disabled()
    page.fill("#prompts", "\n".join(f"nucleus {number}" for number in range(257)))
    expect(page.locator("#prompts-reading")).to_have_text(
        "257 descriptions, and the server takes 256 at most."
    )
    page.fill("#prompts", " \n")
    visitor.run()
    expect(page.locator("#descriptions")).to_contain_text("Write descriptions under the sequences")


def test_descriptions_are_kept_while_a_token_is_asked_for(visitor: Visitor) -> None:
    visitor.expected = ("401",)
    page = enter(visitor, "label\tprompt\nmine\tA protein of mine.")
    expect(page.locator("#prompts-reading")).to_contain_text("1 description")  # the first line is a table's
    page.get_by_role("button", name="Places in the cell").click()
    page.get_by_role("button", name="Places in the cell").click()
    typed = page.input_value("#prompts")
    expect(page.locator("#prompts-reading")).to_contain_text("11 descriptions")
    visitor.context.clear_cookies()
    visitor.run(FASTA)
    page.fill("#token", visitor.endpoint.token)
    page.keyboard.press("Enter")
    expect(page.locator("#prompts-reading")).to_contain_text("11 descriptions")
    assert page.input_value("#prompts") == typed


@pytest.mark.parametrize(
    "visitor",
    [{"viewport": {"width": 320, "height": 700}}, {"color_scheme": "dark"}],
    indirect=True,
    ids=["phone", "dark"],
)
def test_the_table_has_names_fits_and_is_reached_by_keyboard(visitor: Visitor) -> None:
    page = enter(visitor, TYPED)
    page.fill("#sequences", FASTA)
    page.focus("#prompts")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector("#save-descriptions")
    page.wait_for_selector("#run:visible")
    page.get_by_role("button", name="Details of crambin").press("Enter")
    assert defects(page) == []
    page.locator("#rank-by").press("ArrowDown")
    expect(page.locator("#rank-by")).to_have_value(SENTENCE)
    page.focus("#tab-descriptions")
    for key, name in [
        ("ArrowRight", "embeddings"),
        ("ArrowLeft", "descriptions"),
        ("ArrowLeft", "predictions"),
    ]:
        page.keyboard.press(key)
        expect(page.locator(f"#tab-{name}")).to_be_focused()
        expect(page.locator(f"#{name}")).to_be_visible()
    assert defects(page) == []
