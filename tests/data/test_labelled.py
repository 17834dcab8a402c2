import gzip

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from chaperonin.data.label_formats import DEEPLOC_LOCATIONS
from chaperonin.data.labelled import LabelSettings, read_labelled
from chaperonin.errors import InputError, UsageError


@pytest.fixture
def read(tmp_path):
    def read_text(text: str, name: str = "in.csv", **settings):
        path = tmp_path / name
        content = text.encode()
        path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
        return read_labelled(LabelSettings(input=str(path), **settings))

    return read_text


def brief(dataset) -> list[tuple[str, str, str, str]]:
    return [(one.id, one.sequence, one.label, one.stage) for one in dataset.examples]


WANTED = [("row_1", "MKTA", "M", "train"), ("row_2", "GGSA", "S", "val"), ("row_3", "AAAA", "S", "test")]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("in.csv", "sequence,label,stage\nMKTA,M,train\nGGSA,S,valid\nAAAA,S,test\n"),
        ("in.tsv.gz", "protein\tlabel\tstage\nMKTA\tM\tTrain\nGGSA\tS\tvalidation\nAAAA\tS\ttest\n"),
        ("in.csv", "Sequence;Target;Set\nmkta;M;train\nGGSA;S;dev\nAAAA*;S;TEST\n"),
        ("in.csv", "seq,labels,split\nMKTA,M,training\nGGSA,S,val\nAAAA,S,testing\n"),
        ("in.csv", "sequence,target,set,validation\nMKTA,M,train,False\nGGSA,S,train,True\nAAAA,S,test,\n"),
        ("in.csv", "sequence,target,stage,stage_val\nMKTA,M,train,\nGGSA,S,train,True\nAAAA,S,test,\n"),
    ],
)
def test_tables_with_the_names_the_field_uses(read, name, text):
    assert brief(read(text, name)) == WANTED


def test_parquet_gives_what_csv_gives(read, tmp_path):
    columns = {"prot_seq": ["MKTA", "GGSA", None], "label": [1.5, -2.0, 3.0], "fold": [0, 1, 1]}
    parquet.write_table(pa.table(columns), tmp_path / "in.parquet")
    found = read_labelled(LabelSettings(input=str(tmp_path / "in.parquet"), group_column="fold"))
    assert [(one.sequence, one.label, one.group) for one in found.examples] == [
        ("MKTA", "1.5", "0"),
        ("GGSA", "-2.0", "1"),
    ]
    assert [(one.number, one.where) for one in found.rejected] == [(3, "in.parquet:3")]
    same = read("id,prot_seq,label,fold\nrow_1,MKTA,1.5,0\nrow_2,GGSA,-2.0,1\n", group_column="fold")
    assert same.sha256 == found.sha256


@pytest.mark.parametrize("content", [b"PAR1 this is none", b"sequence,label\nMK,M\n"])
def test_what_is_no_parquet_file_is_said(tmp_path, content):
    path = tmp_path / "in.parquet"
    path.write_bytes(content)
    with pytest.raises(InputError, match="Parquet file cannot be read"):
        read_labelled(LabelSettings(input=str(path)))


def test_biotrainer_headers_in_any_order(read):
    text = (
        ">a SET=train TARGET=Cell membrane VALIDATION=False\nMKTA\n"
        ">b TARGET=Glob SET=train VALIDATION=True\nGGSA\n>c set=test target=0.5\nAAAA\n>d SET=val TARGET=x\nMM\n"
    )
    assert brief(read(text, "in.fasta")) == [
        ("a", "MKTA", "Cell membrane", "train"),
        ("b", "GGSA", "Glob", "val"),
        ("c", "AAAA", "0.5", "test"),
        ("d", "MM", "x", "val"),
    ]


def test_biotrainer_residue_labels_in_the_header_or_in_a_second_file(read, tmp_path):
    inside = read(">a SET=train TARGET=DVCD MASK=1101\nMKTA\n>b SET=test TARGET=DDVV\nGGSA\n", "in.fasta")
    assert [one.label for one in inside.examples] == ["DV.D", "DDVV"]
    labels = tmp_path / "labels.fasta"
    labels.write_text(">b SET=test\nDDVV\n>a SET=train VALIDATION=True MASK=1101\nDV\nCD\n")
    second = read(">a\nMKTA\n>b\nGGSA\n>c\nMM\n", "in.fasta", labels=str(labels))
    assert brief(second) == [("a", "MKTA", "DV.D", "val"), ("b", "GGSA", "DDVV", "test")]
    assert "no label for it in labels.fasta" in str(second.rejected[0].error)


DEEPLOC = ",ACC,Kingdom,Partition,Membrane," + ",".join(DEEPLOC_LOCATIONS) + ",Sequence\n"


def test_deeploc_2(read):
    rows = "0,P1,Metazoa,3,1.0,0,1,0,1.0,0,0,0,0,0,0,MKTA\n1,P2,Fungi,4,0.0,1,0,0,0,0,0,0,0,0,0,GGSAA\n"
    membrane = read(DEEPLOC + rows)
    assert [(one.id, one.label, one.group) for one in membrane.examples] == [
        ("P1", "M", "3"),
        ("P2", "S", "4"),
    ]
    several = read(DEEPLOC + rows, label_column="locations")
    assert [one.label for one in several.examples] == ["Nucleus|Cell membrane", "Cytoplasm"]
    nucleus = read(DEEPLOC + rows, label_column="Nucleus")
    assert [one.label for one in nucleus.examples] == ["1", "0"]
    filtered = read(DEEPLOC + rows, longest=4)
    assert [one.id for one in filtered.rejected] == ["P2"]
    assert "a sequence of 5 residues; the longest to use is 4" in str(filtered.rejected[0].error)


BAD_ROWS = [
    ("MK-A,M,train", "a gap (-) at residue 3"),
    ("MKTA,,train", "the label is missing"),
    ("MKTA,NA,train", "the label is missing ('NA')"),
    ("MKTA,M,fold3", "the stage 'fold3' is none of train, val, test"),
    ("MK,M,train", "a sequence of 2 residues; the shortest to use is 3"),
    ("MKTA,M,", "no stage, and other records have one"),
    (",M,train", "the sequence is empty"),
]


@pytest.mark.parametrize(("row", "message"), BAD_ROWS)
def test_a_bad_record_is_rejected_alone_with_its_reason_and_place(read, row, message):
    found = read(f"id,sequence,label,stage\na,GGGG,M,train\nb,{row}\nc,AAAA,S,test\n", shortest=3)
    assert [one.id for one in found.examples] == ["a", "c"]
    (rejected,) = found.rejected
    assert (rejected.number, rejected.id, rejected.where) == (2, "b", "in.csv:3")
    assert message in rejected.error.what
    assert str(rejected.error).startswith("in.csv:3: ")


def test_a_record_marked_for_test_and_validation_is_rejected(read):
    found = read(">a SET=test TARGET=1 VALIDATION=True\nMK\n>b SET=test TARGET=1\nMK\n", "in.fasta")
    assert "for test and for validation" in found.rejected[0].error.what


def test_names_of_files_in_a_folder_may_end_in_their_stage(tmp_path):
    header = "Unnamed: 0,prot_seq,localization\n"
    (tmp_path / "train.csv").write_text(f"{header}0,MKTA,0\n")
    (tmp_path / "A-set_Validation.csv.gz").write_bytes(gzip.compress(f"{header}0,GGSA,1\n".encode()))
    table = pa.table({"prot_seq": ["AAAA"], "localization": pa.array([1], pa.int64())})
    parquet.write_table(table, tmp_path / "test-00000-of-00001-3fc1.parquet")
    found = read_labelled(LabelSettings(input=str(tmp_path)))
    assert [(one.sequence, one.label, one.stage) for one in found.examples] == [
        ("GGSA", "1", "val"),
        ("AAAA", "1", "test"),
        ("MKTA", "0", "train"),
    ]
    (tmp_path / "deeploc-1.0_test.csv").write_text(f"{header}0,GGGG,1\n")
    assert [one.stage for one in read_labelled(LabelSettings(input=str(tmp_path))).examples].count(
        "test"
    ) == 2


@pytest.mark.parametrize("more", ["more.csv", "own.csv"])
def test_names_of_files_do_not_count_beside_one_that_says_none_or_a_column_of_stages(tmp_path, more):
    (tmp_path / "train.csv").write_text("sequence,label\nMKTA,0\n")
    (tmp_path / "dev.csv").write_text("sequence,label\nGGSA,1\n")
    own = "sequence,label\nGGGG,1\n" if more == "more.csv" else "sequence,label,stage\nGGGG,1,train\n"
    (tmp_path / more).write_text(own)
    found = read_labelled(LabelSettings(input=str(tmp_path)))
    if more == "more.csv":
        assert [one.stage for one in found.examples] == ["", "", ""] and not found.rejected
    else:
        assert [one.where for one in found.examples] == ["own.csv:2"]
        assert [one.where for one in found.rejected] == ["dev.csv:2", "train.csv:2"]


def test_files_of_one_stage_that_does_not_train_are_split_as_before(tmp_path):
    (tmp_path / "a_test.csv").write_text("sequence,label\nMKTA,0\n")
    assert [one.stage for one in read_labelled(LabelSettings(input=str(tmp_path))).examples] == [""]


def test_one_file_has_no_stage_by_its_name(read):
    assert [one.stage for one in read("sequence,label\nMKTA,M\n", "test.csv").examples] == [""]


def test_skipped_labels_are_counted_not_rejected(read):
    found = read("sequence,label\nMKTA,M\nGGSA,NA\nAAAA,NA\nAAGG,U\n", skip_labels=("NA", "U"))
    assert (len(found.examples), len(found.rejected)) == (1, 0)
    assert any(note.startswith("2 records with the label 'NA' left out") for note in found.notes)


def test_conflicting_labels_are_noted(read):
    notes = read("id,sequence,label\na,MKTA,M\nb,mkta,S\nc,GGSA,S\nd,GGSA,S\n").notes
    assert "2 records repeat the sequence of another one" in notes
    assert any("1 sequences have different labels" in note and "a (M) and b (S)" in note for note in notes)
    assert "lower case made upper case: 1 records" in notes


@pytest.mark.parametrize(
    ("text", "settings", "message"),
    [
        ("sequence,fitness\nMK,1\n", {}, "no column 'label'; the header has 'sequence', 'fitness'"),
        ("sequence,label\nMK,1\n", {"stage_column": "part"}, "no column 'part'"),
        ("sequence,label\nMK,1\n", {"group_column": "fold"}, "no column 'fold'"),
        ("sequence,label\nMK,1\n", {"format": "biotrainer"}, "which data.format=biotrainer does not read"),
        ("sequence,label\nMK,NA\n", {}, "none of 1 records can be used: the label is missing"),
    ],
)
def test_an_input_that_cannot_be_read_is_refused(read, text, settings, message):
    with pytest.raises(InputError, match=message):
        read(text, **settings)


def test_no_input_is_a_usage_error():
    with pytest.raises(UsageError, match="no input"):
        read_labelled(LabelSettings())


def test_masks_leave_letters_and_values_unknown(read):
    found = read("sequence,label,mask\nMKTA,HHEC,0111\nGGS,0.5;1;2,110\nAAA,HHH,11\n")
    assert [one.label for one in found.examples] == [".HEC", "0.5;1;nan"]
    assert "the mask has 2 places, the label 3" in found.rejected[0].error.what


def test_real_tables(real_data):
    deeploc = read_labelled(
        LabelSettings(
            input=str(real_data / "localization/deeploc1_train.tsv.gz"),
            label_column="membrane",
            group_column="fold",
            skip_labels=("U",),
        )
    )
    assert len(deeploc.examples) == 2675
    assert {one.label for one in deeploc.examples} == {"M", "S"}
    assert {one.group for one in deeploc.examples} == set("01234567")
    assert len(deeploc.rejected) == 6828
    assert {one.error.what for one in deeploc.rejected} == {"the label is missing ('NA')"}
    structure = read_labelled(
        LabelSettings(input=str(real_data / "tasks/secondary_structure3_flip_train.tsv.gz"))
    )
    assert len(structure.examples) == 10_792
    assert all(len(one.label) == len(one.sequence) for one in structure.examples)
    assert {letter for one in structure.examples for letter in one.label} == set("HEC.")
    assert sum(one.stage == "val" for one in structure.examples) == 1080
    variants = LabelSettings(
        input=str(real_data / "tasks/gb1_flip_all_splits.csv.gz"), stage_column="two_vs_rest"
    )
    assert sum(one.stage == "val" for one in read_labelled(variants).examples) == 43


def test_a_contact_map_that_counts_from_0_is_the_list_of_its_pairs(read, tmp_path):
    columns = {"seq": ["MKTA", "GGSA"], "label": [[[0, 0], [0, 3], [1, 2]], [[2, 2]]]}
    parquet.write_table(pa.table(columns), tmp_path / "in.parquet")
    found = read_labelled(LabelSettings(input=str(tmp_path / "in.parquet"), first_residue=0))
    assert [one.label for one in found.examples] == ["1-4;2-3", ""]
    as_it_is = read_labelled(LabelSettings(input=str(tmp_path / "in.parquet")))
    assert [one.label for one in as_it_is.examples] == ["0-0;0-3;1-2", "2-2"]
    odd = read("sequence,label\nMKTA,0-3;x\n", first_residue=0)
    assert [one.label for one in odd.examples] == ["1-4;x"]  # for the task to refuse


def test_chains_are_joined_by_a_linker_or_refused(read):
    text = "sequence,label\nMK|TA|GG,1\nGGSA,0\n"
    found = read(text, linker="GSG")
    assert [one.sequence for one in found.examples] == ["MKGSGTAGSGGG", "GGSA"]
    assert found.notes == ["chains joined by GSG: 1 records"]
    (refused,) = read(text).rejected
    assert "'|' at residue 3" in refused.error.what
