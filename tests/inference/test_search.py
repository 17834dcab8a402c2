"""The proteins that a text describes, and the texts that describe a protein."""

import csv
from pathlib import Path

import numpy as np
import pytest
from tests.inference.tiny_protst import write_protst

import chaperonin.inference.search as verb
from chaperonin.cli.main import main
from chaperonin.inference.protst import Loaded, load_protst
from chaperonin.inference.search import search

TEXTS = ["a protein located in the nucleus", "an enzyme of the golgi apparatus", "membrane"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("protst") / "model"
    write_protst(place)
    return place


@pytest.fixture(scope="module")
def model(folder: Path) -> Loaded:
    return load_protst(str(folder), "fp32", "cpu")


@pytest.fixture
def proteins(tmp_path: Path) -> dict[str, str]:
    generator = np.random.default_rng(5)
    letters = list("ACDEFGHIKLMNPQRSTVWY")
    found = {f"p{n}": "".join(generator.choice(letters, 5 + 3 * n)) for n in range(30)}
    found["twin"] = found["p3"]
    (tmp_path / "in.fasta").write_text("".join(f">{id}\n{own}\n" for id, own in found.items()) + ">bad\n1\n")
    (tmp_path / "texts.tsv").write_text("text\n" + "\n".join(TEXTS) + "\n")
    return found


def hits(folder: Path) -> list[tuple[str, int, str, float]]:
    with (folder / "out/hits.csv").open(newline="") as lines:
        return [(r["query"], int(r["rank"]), r["id"], float(r["cosine"])) for r in csv.DictReader(lines)]


def run(query: str, folder: Path, model: Path, *options: str) -> int:
    words = ["search", query, str(folder / "in.fasta"), str(folder / "out"), "--model", str(model)]
    return main([*words, "--precision", "fp32", "--set", "device=cpu", *options])


def test_the_best_proteins_of_each_text_come_first(
    proteins: dict[str, str], folder: Path, model: Loaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verb, "_AT_ONCE", 7)  # the best of several portions
    assert run(str(tmp_path / "texts.tsv"), tmp_path, folder, "--top", "4") == 3
    cosines = model.text_vectors(TEXTS) @ model.protein_vectors(list(proteins.values()), 4096).T
    found = hits(tmp_path)
    assert [(query, rank) for query, rank, *_ in found] == [(text, n) for text in TEXTS for n in range(1, 5)]
    for text, own in zip(TEXTS, cosines, strict=True):
        best = np.sort(own)[::-1][:4]
        mine = [hit for hit in found if hit[0] == text]
        np.testing.assert_allclose([hit[3] for hit in mine], best, atol=1e-5)
        np.testing.assert_allclose([own[list(proteins).index(hit[2])] for hit in mine], best, atol=1e-5)
    in_memory = search(model, TEXTS, proteins, top=4)
    assert [(hit.query, hit.rank, hit.id) for hit in in_memory] == [hit[:3] for hit in found]


def test_one_text_is_typed_and_its_hits_are_printed(
    proteins: dict[str, str], folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(TEXTS[0], tmp_path, folder, "--top", "3") == 3
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "query,rank,id,cosine" and len(printed) == 4
    assert {hit[0] for hit in hits(tmp_path)} == {TEXTS[0]}
    page = (tmp_path / "out/report.html").read_text()
    assert "best hits" in page and all(hit[2] in page for hit in hits(tmp_path))


def test_equal_proteins_stand_in_their_order_across_portions(
    model: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verb, "_AT_ONCE", 4)
    found = search(model, [TEXTS[0]], {f"p{n}": "MKTAYIAKQR" for n in range(9)}, top=9)
    assert [hit.id for hit in found] == [f"p{n}" for n in range(9)]
    assert len({hit.cosine for hit in found}) == 1
    assert search(model, [], {"p": "MKT"}) == [] and search(model, TEXTS, {}) == []


def test_equal_proteins_agree_equally_and_keep_their_order(
    proteins: dict[str, str], folder: Path, tmp_path: Path
) -> None:
    assert run(TEXTS[1], tmp_path, folder, "--top", "100") == 3
    ranked = [hit[2] for hit in hits(tmp_path)]
    assert sorted(ranked) == sorted(proteins)
    assert ranked.index("twin") == ranked.index("p3") + 1


def test_the_best_texts_of_each_protein(
    proteins: dict[str, str], folder: Path, model: Loaded, tmp_path: Path
) -> None:
    assert run(str(tmp_path / "texts.tsv"), tmp_path, folder, "--texts", "--top", "2") == 3
    cosines = model.protein_vectors(list(proteins.values()), 4096) @ model.text_vectors(TEXTS).T
    found = hits(tmp_path)
    assert len(found) == 2 * len(proteins)
    for id, own in zip(proteins, cosines, strict=True):
        mine = [hit[2] for hit in found if hit[0] == id]
        assert mine == [TEXTS[place] for place in np.argsort(-own)[:2]]


@pytest.mark.parametrize(
    ("query", "options", "said"),
    [
        (" ", (), "a text of 0 characters"),
        ("word " * 10_000, (), "a text of 49,999 characters"),
        ("absent.tsv", (), "no such file"),
        ("\U0001f9ec", (), "no word that the model knows"),
        ("nucleus", ("--top", "0"), "top = 0"),
        ("{folder}/notes.txt", (), "a file that is no table"),
        ("[SEP]", (), "no word that the model knows"),
    ],
)
def test_what_is_no_query_is_said(
    proteins: dict[str, str],
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    query: str,
    options: tuple[str, ...],
    said: str,
) -> None:
    (tmp_path / "notes.txt").write_text("nucleus\n")
    assert run(query.replace("{folder}", str(tmp_path)), tmp_path, folder, *options) == 1
    assert said in capsys.readouterr().err
