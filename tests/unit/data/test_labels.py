"""Label cells to arrays, the task they make, and the sentence for each wrong cell."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

import numpy as np
import pytest

from cxrlearn.data.label_cells import is_fraction, is_whole, spelled
from cxrlearn.data.labels import (
    LabelPolicy,
    Labels,
    Task,
    count_labels,
    define_task,
    one_class_labels,
    placeholder_notices,
    read_labels,
    suggest_class_columns,
)
from cxrlearn.data.manifest import Manifest, read_manifest
from cxrlearn.errors import DataError, UsageError
from tests.support.shared import shared_path

if TYPE_CHECKING:
    from pathlib import Path


def _manifest(folder: Path, columns: str, *rows: str, name: str = "train") -> Manifest:
    """Write a CSV whose rows hold label cells only; paths are a0.png, a1.png, …"""
    file = folder / f"{name}.csv"
    lines = [f"a{at}.png,{row}" for at, row in enumerate(rows)]
    file.write_text("\n".join([f"Path,{columns}", *lines]), encoding="utf-8")
    return read_manifest(file, name=name)


def _read(manifest: Manifest, *columns: str, policy: LabelPolicy | None = None) -> Labels:
    return read_labels(manifest, define_task(manifest, columns, policy or LabelPolicy()))


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("1", "1"),
        ("1.0", "1"),
        ("+1", "1"),
        ("01", "1"),
        ("0.", "0"),
        ("-0.0", "0"),
        ("-1.000", "-1"),
        ("1e0", "1"),
        ("TRUE", "1"),
        ("False", "0"),
        ("10", "10"),
        ("0.5", "0.5"),
        ("1.01", "1.01"),
        ("COVID-19", "COVID-19"),
        ("1x", "1x"),
    ],
)
def test_numbers_have_one_spelling(cell: str, expected: str) -> None:
    assert spelled(cell) == expected


def test_fractions_and_whole_numbers_are_told_apart() -> None:
    assert [is_fraction(cell) for cell in ("0.5", ".5", "1.0", "1", "x", "1e-3")] == [
        True,
        True,
        False,
        False,
        False,
        True,
    ]
    assert [is_whole(cell) for cell in ("3", "-1", "3.0", "3.5", "x")] == [True] * 3 + [False] * 2


@pytest.mark.parametrize("uncertain", ["mask", "zeros", "ones"])
@pytest.mark.parametrize("blank", ["mask", "zeros"])
def test_policy_decides_over_minus_one_and_blank(
    tmp_path: Path, uncertain: str, blank: str
) -> None:
    manifest = _manifest(tmp_path, "Edema,x", "1,", "0.0,", "-1.0,", ",", " 1 ,")
    policy = LabelPolicy(uncertain=uncertain, blank=blank)  # type: ignore[arg-type]

    labels = _read(manifest, "Edema", policy=policy)

    known = [True, True, uncertain != "mask", blank != "mask", True]
    assert labels.known[:, 0].tolist() == known
    assert labels.values[:, 0].tolist() == [1, 0, int(uncertain == "ones"), 0, 1]
    assert labels.blank[:, 0].tolist() == [False, False, False, True, False]
    assert labels.values.dtype == np.int8


def test_several_columns_of_zeros_and_ones_are_multi_label(tmp_path: Path) -> None:
    manifest = _manifest(tmp_path, "Edema,Mass,sex", "1,0,F", ",1,M", "0,-1,F")

    task = define_task(manifest, ["Mass", "Edema"], LabelPolicy())
    labels = read_labels(manifest, task)

    assert (task.kind, task.columns, task.names) == (
        "multilabel",
        ("Mass", "Edema"),
        ("Mass", "Edema"),
    )
    assert labels.values.tolist() == [[0, 1], [1, 0], [0, 0]]
    assert labels.known.tolist() == [[True, True], [True, False], [False, True]]


def test_one_column_of_zeros_and_ones_is_binary(tmp_path: Path) -> None:
    manifest = _manifest(tmp_path, "Edema,x", "1,", "0,", "-1,", ",")

    assert define_task(manifest, ["Edema"], LabelPolicy()).kind == "binary"


def test_one_column_of_words_is_multi_class_in_sorted_order(tmp_path: Path) -> None:
    manifest = _manifest(tmp_path, "finding,x", "Pneumonia,", "COVID-19,", ",", "No Finding,")

    task = define_task(manifest, ["finding"], LabelPolicy())
    labels = read_labels(manifest, task)

    assert (task.kind, task.names) == ("multiclass", ("COVID-19", "No Finding", "Pneumonia"))
    assert labels.class_index.tolist() == [2, 0, -1, 1]
    assert labels.values.tolist() == [[0, 0, 1], [1, 0, 0], [0, 0, 0], [0, 1, 0]]
    assert labels.known.tolist() == [[True] * 3, [True] * 3, [False] * 3, [True] * 3]


def test_numbered_classes_sort_by_number_and_minus_one_masks(tmp_path: Path) -> None:
    manifest = _manifest(tmp_path, "grade,x", "10,", "2.0,", "0,", "-1,", "1,", "2,")

    task = define_task(manifest, ["grade"], LabelPolicy())

    assert task.names == ("0", "1", "2", "10")
    assert read_labels(manifest, task).class_index.tolist() == [3, 2, 0, -1, 1, 2]


def test_two_words_need_to_be_told_which_is_positive(tmp_path: Path) -> None:
    manifest = _manifest(tmp_path, "sex,x", "F,", "M,", ",", "F,")

    with pytest.raises(UsageError, match=r"two values, 'M' and 'F'.*--positive 'F' or --positive"):
        define_task(manifest, ["sex"], LabelPolicy())
    policy = LabelPolicy(positive="F")
    task = define_task(manifest, ["sex"], policy)
    labels = read_labels(manifest, task)

    assert (task.kind, task.names, task.negative) == ("binary", ("sex=F",), "M")
    assert labels.values[:, 0].tolist() == [1, 0, 0, 1]
    assert labels.known[:, 0].tolist() == [True, True, False, True]


@pytest.mark.parametrize(
    ("rows", "positive", "values"),
    [
        (("1,", "2,", "1,"), "1", [1, 0, 1]),
        (("1,", "-1,", "1,"), "1", [1, 0, 1]),
        (("0,", "1,", "0,"), "0", [1, 0, 1]),
        (("0,", "1,", "0.0,"), "1.0", [0, 1, 0]),
    ],
)
def test_positive_may_be_a_number(
    tmp_path: Path, rows: tuple[str, ...], positive: str, values: list[int]
) -> None:
    manifest = _manifest(tmp_path, "y,x", *rows)

    labels = _read(manifest, "y", policy=LabelPolicy(positive=positive))

    assert labels.values[:, 0].tolist() == values
    assert labels.known.all()


@pytest.mark.parametrize(
    ("columns", "policy", "sentence"),
    [
        (["sex"], LabelPolicy(positive="W"), r"--positive 'W' does not occur in .*'F', 'M'"),
        (["finding"], LabelPolicy(positive="a"), r"--positive needs two values, but .*'b', 'c'"),
        (["y", "sex"], LabelPolicy(positive="x"), r"--positive 'x' does not occur in .*: columns"),
        (["y", "z"], LabelPolicy(separator="|"), r"--label-separator takes one label column; 2"),
        (["finding"], LabelPolicy(separator="|"), r"--label-separator '\|' is in no cell of .*'a'"),
        (["finding"], LabelPolicy(separator=" "), r"--label-separator: expected a sign"),
        (
            ["finding"],
            LabelPolicy(separator="|", positive="a"),
            r"--label-separator and --positive exclude each other",
        ),
        (["y", "z"], LabelPolicy(task="binary"), r"--task binary takes one label column"),
        (["y", "z"], LabelPolicy(task="multiclass"), r"--task multiclass takes one label column"),
        (["y"], LabelPolicy(task="multiclass"), r"has two values, '0', '1': that is --task binary"),
        (["finding"], LabelPolicy(blank="zeros"), r"--blank zeros is for 0/1 labels"),
        (["grade"], LabelPolicy(uncertain="ones"), r"--uncertain ones is for 0/1 labels"),
    ],
)
def test_options_that_do_not_fit_the_columns_are_refused(
    tmp_path: Path, columns: list[str], policy: LabelPolicy, sentence: str
) -> None:
    manifest = _manifest(
        tmp_path, "sex,finding,y,z,grade", "F,a,0,1,0", "M,b,1,0,1", "F,c,0,0,2", "M,a,1,1,-1"
    )

    with pytest.raises(UsageError, match=sentence):
        define_task(manifest, columns, policy)


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        (
            ["Edma"],
            r"--class-columns names 'Edma'\. Did you mean 'Edema'\? The columns are 'Path', ",
        ),
        (["Edema", "Edema"], r"--class-columns names 'Edema' more than once"),
        ([], r"--class-columns has to name the label columns\. Columns that hold 0/1: 'Edema'"),
        (["Path"], r"--class-columns has to name the label columns"),
        (["nothing"], r"column 'nothing' is blank in every row"),
        (["same"], r"column 'same' has one value, 'x': there is nothing to tell apart"),
        (
            ["soft"],
            r"rows 2, 3, column 'soft': '0\.5' is not a label; expected 0, 1, -1 .* \(also '0\.25'",
        ),
        (["mixed"], r"row 4, column 'mixed': 'yes' is not a label; expected 0, 1, -1"),
        (["cases"], r"differ in case or blanks only: 'COVID', 'Covid'"),
    ],
)
def test_columns_that_hold_no_labels_are_refused(
    tmp_path: Path, columns: list[str], sentence: str
) -> None:
    manifest = _manifest(
        tmp_path,
        "Edema,nothing,same,soft,mixed,cases",
        "1,,x,0.5,0,COVID",
        "0,,x,0.25,1,Covid",
        "1,,x,0,yes,b",
    )

    with pytest.raises(DataError, match=sentence):
        define_task(manifest, columns, LabelPolicy())


def test_a_column_of_many_values_is_hardly_classes(tmp_path: Path) -> None:
    manifest = _manifest(tmp_path, "age,x", *[f"{age}," for age in range(20, 60)])

    with pytest.raises(DataError, match=r"has 40 different numbers \(such as .*: a measurement"):
        define_task(manifest, ["age"], LabelPolicy())
    assert len(define_task(manifest, ["age"], LabelPolicy(task="multiclass")).names) == 40


@pytest.mark.parametrize("cell", ["yes", "2", "0.5", "-2", "1 0", "O", "1,5"])
def test_wrong_cells_are_listed_with_row_and_column(tmp_path: Path, cell: str) -> None:
    manifest = _manifest(tmp_path, "Edema,Mass", f'1,"{cell}"', "0,1", f'"{cell}",0')

    with pytest.raises(DataError) as caught:
        _read(manifest, "Edema", "Mass")

    start = f"{tmp_path / 'train.csv'}, row "
    end = f"{cell!r} is not a label; expected 0, 1, -1 (uncertain) or nothing"
    assert str(caught.value).splitlines() == [
        f"{start}4, column 'Edema': {end}",
        f"{start}2, column 'Mass': {end}",
    ]


def test_the_task_is_fixed_on_train_and_an_unseen_class_is_an_error(tmp_path: Path) -> None:
    train = _manifest(tmp_path, "finding,x", "a,", "b,", "Pneumonia,")
    test = _manifest(tmp_path, "finding,x", "Pneumonia,", "b,", name="test")
    odd = _manifest(tmp_path, "finding,x", "b,", "Pneumonja,", name="odd")
    task = define_task(train, ["finding"], LabelPolicy())

    assert read_labels(test, task).class_index.tolist() == [0, 2]
    with pytest.raises(DataError) as caught:
        read_labels(odd, task)
    assert str(caught.value) == (
        f"{tmp_path / 'odd.csv'}, row 3, column 'finding': 'Pneumonja' is not a class of the "
        "training set ('Pneumonia', 'a', 'b'). Did you mean 'Pneumonia'?"
    )


def test_an_unseen_value_beside_the_positive_one_is_an_error(tmp_path: Path) -> None:
    task = define_task(_manifest(tmp_path, "sex,x", "F,", "M,"), ["sex"], LabelPolicy(positive="F"))

    with pytest.raises(
        DataError, match=r"row 2, column 'sex': 'D' is not a label; expected 'F', 'M'"
    ):
        read_labels(_manifest(tmp_path, "sex,x", "D,", name="test"), task)


def test_a_label_column_that_another_set_lacks_is_named(tmp_path: Path) -> None:
    task = define_task(_manifest(tmp_path, "Edema,x", "1,", "0,"), ["Edema"], LabelPolicy())

    with pytest.raises(DataError, match=r"test\.csv: --class-columns names 'Edema'\. Did you mean"):
        read_labels(_manifest(tmp_path, "edema,x", "1,", name="test"), task)


@pytest.mark.parametrize(
    ("columns", "number", "fine"),
    [
        (("y",), 1, True),
        (("y",), 2, True),
        (("y",), 3, False),
        (("y", "z"), 2, True),
        (("y", "z"), 14, False),
        (("finding",), 3, True),
        (("finding",), 4, False),
    ],
)
def test_number_of_classes_is_checked_when_given(
    tmp_path: Path,
    columns: tuple[str, ...],
    number: int,
    fine: bool,  # noqa: FBT001
) -> None:
    manifest = _manifest(tmp_path, "y,z,finding", "0,1,a", "1,0,b", "1,1,c")
    policy = LabelPolicy(num_classes=number)

    if fine:
        define_task(manifest, columns, policy)
    else:
        with pytest.raises(
            DataError, match=rf"--num-classes {number}, but .* has [123] (classes|la)"
        ):
            define_task(manifest, columns, policy)


def test_an_image_with_two_different_labels_is_an_error_with_both_rows(tmp_path: Path) -> None:
    file = tmp_path / "train.csv"
    file.write_text("Path,Edema,Mass\na.png,1,0\nb.png,0,0\n./a.png,0,0\n")
    manifest = read_manifest(file, name="train")

    with pytest.raises(DataError) as caught:
        _read(manifest, "Edema", "Mass")

    assert str(caught.value) == (
        f"{file}, rows 2, 4: 'a.png' has several rows, with other labels in 'Edema': an image "
        "needs one row"
    )


def test_an_image_with_equal_labels_and_another_difference_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "train.csv"
    file.write_text("Path,Edema,box\na.png,1,left\na.png,1,right\nb.png,0,\n")

    with pytest.raises(DataError, match=r"rows 2, 3: 'a\.png' has several rows, with equal labels"):
        _read(read_manifest(file, name="train"), "Edema")


def test_exact_repeats_are_one_row_of_labels(tmp_path: Path) -> None:
    file = tmp_path / "train.csv"
    file.write_text("Path,Edema\na.png,1\na.png,1\nb.png,0\n")

    assert _read(read_manifest(file, name="train"), "Edema").values.tolist() == [[1], [0]]


def test_two_files_under_one_id_are_no_repeat_and_are_refused(tmp_path: Path) -> None:
    names = [unicodedata.normalize(form, "röntgen.png") for form in ("NFC", "NFD")]
    for number, name in enumerate(names):
        (tmp_path / name).write_bytes(bytes([number]))
    if len(list(tmp_path.iterdir())) == 1:
        pytest.skip("this file system takes both spellings for one name")
    file = tmp_path / "train.csv"
    file.write_text(f"Path,Edema\n{names[0]},1\n{names[1]},1\n", encoding="utf-8")

    with pytest.raises(DataError, match=r"rows 2, 3: 'röntgen\.png' has two files, whose"):
        _read(read_manifest(file, name="train"), "Edema")


def test_candidates_for_label_columns_are_those_of_zeros_and_ones(tmp_path: Path) -> None:
    manifest = _manifest(
        tmp_path,
        "Edema,Mass,sex,age,empty,grade,unsure",
        "1,1.0,F,61,,0,-1",
        "0,,M,0,,1,-1",
        ",-1.0,F,1,,2,",
    )

    assert suggest_class_columns(manifest.table) == ("Edema", "Mass")


def test_counts_of_every_label(tmp_path: Path) -> None:
    manifest = _manifest(tmp_path, "Edema,Mass", "1,0", "0,-1", ",", "1,")
    labels = _read(manifest, "Edema", "Mass")

    edema, mass = count_labels(labels, ("Edema", "Mass"))

    assert (edema.positives, edema.negatives, edema.masked, edema.masked_blank) == (2, 1, 1, 1)
    assert (mass.positives, mass.negatives, mass.masked, mass.masked_blank) == (0, 1, 3, 2)


@pytest.mark.parametrize(
    ("rows", "policy", "remedy"),
    [
        (("1,", ",", ","), LabelPolicy(), "say --blank zeros"),
        (("1,", "-1,"), LabelPolicy(), "--uncertain zeros would use the -1s"),
        (("0,", "-1,", ","), LabelPolicy(), "--uncertain ones would use the -1s"),
        (("1,", ",", "-1,"), LabelPolicy(), "say --blank zeros"),
        (("0,", ","), LabelPolicy(), "leave it out of --class-columns, or add rows"),
        (("1,", "1,"), LabelPolicy(), "leave it out of --class-columns, or add rows"),
        (("1,", "-1,"), LabelPolicy(uncertain="ones"), "leave it out of --class-columns"),
    ],
)
def test_a_label_left_with_one_class_is_named_with_the_option_that_mends_it(
    tmp_path: Path, rows: tuple[str, ...], policy: LabelPolicy, remedy: str
) -> None:
    labels = _read(_manifest(tmp_path, "Edema,x", *rows), "Edema", policy=policy)

    (sentence,) = one_class_labels(count_labels(labels, ("Edema",)), policy)

    assert sentence.startswith("label 'Edema' has ")
    assert remedy in sentence


def test_labels_with_both_classes_get_no_sentence(tmp_path: Path) -> None:
    labels = _read(_manifest(tmp_path, "Edema,x", "1,", "0,", ","), "Edema")

    assert one_class_labels(count_labels(labels, ("Edema",)), LabelPolicy()) == ()


def test_original_defect_s12_missing_and_uncertain_labels_never_become_targets(
    tmp_path: Path,
) -> None:
    """The original passed NaN and -1 on to the loss."""
    labels = _read(
        _manifest(tmp_path, "Edema,Mass", "1,nan", "-1.0,0", ",1", "0,NaN"), "Edema", "Mass"
    )

    assert set(np.unique(labels.values)) <= {0, 1}
    assert labels.known.tolist() == [[True, False], [False, True], [False, True], [True, False]]


@pytest.mark.shared
def test_shared_labels_have_the_published_counts() -> None:
    """The numbers stand in the README of the shared data."""
    nih = read_manifest(shared_path("data/nih/train.csv"), name="train")
    columns = suggest_class_columns(nih.table)
    task = define_task(nih, columns, LabelPolicy())
    counts = {count.name: count for count in count_labels(read_labels(nih, task), task.names)}

    assert task.kind == "multilabel"
    assert len(columns) == 14
    assert (counts["Hernia"].positives, counts["Pneumonia"].positives) == (8, 185)
    assert all(count.masked == 0 for count in counts.values())

    covid = read_manifest(shared_path("data/covid/test.csv"), name="test")
    train = read_manifest(shared_path("data/covid/train.csv"), name="train")
    classes = define_task(train, ["finding"], LabelPolicy(num_classes=3))
    index = read_labels(covid, classes).class_index
    assert np.bincount(index).tolist() == [18, 67, 73]
    assert isinstance(classes, Task)


@pytest.mark.parametrize(
    "placeholder", ["NA", "n/a", "None", "?", "-", "#N/A", "NULL", "unknown", ".", "Missing"]
)
def test_placeholders_are_blank_with_a_notice_and_never_a_class(
    tmp_path: Path, placeholder: str
) -> None:
    manifest = _manifest(
        tmp_path, "finding,Edema", "a,1", f"{placeholder},{placeholder}", "b,0", f"c,{placeholder}"
    )

    classes = define_task(manifest, ["finding"], LabelPolicy())
    assert (classes.kind, classes.names) == ("multiclass", ("a", "b", "c"))
    assert read_labels(manifest, classes).class_index.tolist() == [0, -1, 1, 2]
    edema = _read(manifest, "Edema")
    assert edema.known[:, 0].tolist() == [True, False, True, False]
    assert edema.blank[:, 0].tolist() == [False, True, False, True]
    assert placeholder_notices([manifest], ["finding", "Edema"]) == [
        f"{tmp_path / 'train.csv'}, column 'finding': {placeholder!r} (1 row) counts as blank.",
        f"{tmp_path / 'train.csv'}, column 'Edema': {placeholder!r} (2 rows) counts as blank.",
    ]
    assert suggest_class_columns(manifest.table) == ("Edema",)


@pytest.mark.parametrize(
    ("yes", "no", "option"),
    [
        ("YES", "NO", "yes"),
        ("Positive", "Negative", "Positive"),
        ("present", "absent", "Present"),
        ("y", "n", "y"),
    ],
)
def test_one_positive_word_is_that_of_all_columns(
    tmp_path: Path, yes: str, no: str, option: str
) -> None:
    manifest = _manifest(
        tmp_path, "Edema,Mass,Rare,Number", f"{yes},{no},{no},1", f"{no.upper()},{yes},,0", ",-1,,"
    )
    policy = LabelPolicy(positive=option)

    with pytest.raises(UsageError) as caught:
        define_task(manifest, ["Edema", "Mass", "Rare"], LabelPolicy())
    task = define_task(manifest, ["Edema", "Mass", "Rare", "Number"], policy)
    labels = read_labels(manifest, task)

    assert "'Edema', 'Mass'" in str(caught.value)
    assert f"Say which one is positive: --positive {yes!r} or --positive" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert (task.kind, task.names) == ("multilabel", ("Edema", "Mass", "Rare", "Number"))
    assert labels.values.tolist() == [[1, 0, 0, 1], [0, 1, 0, 0], [0, 0, 0, 0]]
    assert labels.known.tolist() == [
        [True, True, True, True],
        [True, True, False, True],
        [False, False, False, False],
    ]


def test_words_of_truth_need_no_option(tmp_path: Path) -> None:
    manifest = _manifest(tmp_path, "Edema,Mass", "TRUE,False", "false,true")

    assert _read(manifest, "Edema", "Mass").values.tolist() == [[1, 0], [0, 1]]


def test_yes_and_no_may_be_cut_short_and_uncertain_is_minus_one(tmp_path: Path) -> None:
    manifest = _manifest(tmp_path, "Edema,Mass", "Yes,y", "NO,n", "Uncertain,yes", "n,No")

    with pytest.raises(UsageError, match=r"Say which one is positive: --positive '[yY]"):
        define_task(manifest, ["Edema", "Mass"], LabelPolicy())
    labels = _read(manifest, "Edema", "Mass", policy=LabelPolicy(positive="yes"))

    assert labels.values.tolist() == [[1, 1], [0, 0], [0, 1], [0, 0]]
    assert labels.known[:, 0].tolist() == [True, True, False, True]


def test_a_mark_for_present_needs_no_other_word_where_blank_is_zero(tmp_path: Path) -> None:
    manifest = _manifest(tmp_path, "Edema,Mass", "x,", ",x", "X,x")

    labels = _read(manifest, "Edema", "Mass", policy=LabelPolicy(positive="x", blank="zeros"))

    assert labels.values.tolist() == [[1, 0], [0, 1], [1, 1]]
    with pytest.raises(UsageError, match=r"--positive needs two values, but those of .* are 'x'"):
        _read(manifest, "Edema", "Mass", policy=LabelPolicy(positive="x"))


def test_a_third_word_beside_the_positive_one_is_named(tmp_path: Path) -> None:
    manifest = _manifest(tmp_path, "Edema,Mass", "yes,no", "no,maybe")

    with pytest.raises(UsageError, match=r"words, 'maybe', 'no', 'yes'\. Labels in several col"):
        define_task(manifest, ["Edema", "Mass"], LabelPolicy())

    with pytest.raises(UsageError, match=r"are 'maybe', 'no', 'yes'\. Write -1 for uncertain"):
        define_task(manifest, ["Edema", "Mass"], LabelPolicy(positive="yes"))


@pytest.mark.parametrize(
    ("cells", "separator"),
    [
        (("Effusion|Mass", "No Finding", "Mass", "", "-1", "Effusion | Edema"), "|"),
        (("Effusion;Mass", "normal", "Mass", "NA", "-1", "Edema; Effusion"), ";"),
        (('"Effusion, Mass"', "Normal", "Mass", "?", "-1", '"Edema,Effusion"'), ","),
        (("Effusion and Mass", "Normal", "Mass", "", "-1", "Edema and Effusion"), " and "),
        (("Effusion/Mass", "no finding", "Mass", "", "-1", "Effusion / Edema"), "/"),
        (
            (
                "\"['Effusion', 'Mass']\"",
                "[]",
                "\"['Mass ']\"",
                "",
                "-1",
                "\"['Edema','Effusion']\"",
            ),
            ",",
        ),
    ],
)
def test_joined_findings_become_labels(
    tmp_path: Path, cells: tuple[str, ...], separator: str
) -> None:
    manifest = _manifest(tmp_path, "finding,x", *[f"{cell}," for cell in cells])

    with pytest.raises(UsageError) as caught:
        define_task(manifest, ["finding"], LabelPolicy())
    task = define_task(manifest, ["finding"], LabelPolicy(separator=separator))
    labels = read_labels(manifest, task)

    assert f"--label-separator '{separator}' makes a label of each finding" in str(caught.value)
    assert (task.kind, task.columns, task.names) == (
        "multilabel",
        ("finding",),
        ("Edema", "Effusion", "Mass"),
    )
    assert labels.values.tolist() == [
        [0, 1, 1],
        [0, 0, 0],
        [0, 0, 1],
        [0, 0, 0],
        [0, 0, 0],
        [1, 1, 0],
    ]
    assert labels.known[:, 0].tolist() == [True, True, True, False, False, True]
    zeros = LabelPolicy(separator=separator, blank="zeros")
    assert _read(manifest, "finding", policy=zeros).known[:, 0].tolist() == [
        True, True, True, True, False, True,
    ]  # fmt: skip


def test_a_finding_that_train_lacks_is_one_line_with_its_rows(tmp_path: Path) -> None:
    train = _manifest(tmp_path, "finding,x", "a|b,", "b,", "Normal,")
    test = _manifest(tmp_path, "finding,x", *["a|c,", "c|d,"] * 30, name="test")
    task = define_task(train, ["finding"], LabelPolicy(separator="|"))

    with pytest.raises(DataError) as caught:
        read_labels(test, task)

    (line,) = str(caught.value).splitlines()
    assert line.startswith(
        f"{tmp_path / 'test.csv'}, rows 2, 3, 4 and 57 more, column 'finding': 'c' is no finding"
    )
    assert line.endswith("(also 'd')")


@pytest.mark.parametrize(
    "names",
    [
        ("Nodule/Mass", "Normal", "Edema"),
        ("No Lung Opacity / Not Normal", "Normal", "Lung Opacity"),
        ("COVID-19", "Viral Pneumonia", "Normal"),
    ],
)
def test_signs_in_the_names_of_classes_join_nothing(tmp_path: Path, names: tuple[str, ...]) -> None:
    manifest = _manifest(tmp_path, "finding,x", *[f"{name}," for name in names])

    assert define_task(manifest, ["finding"], LabelPolicy()).names == tuple(sorted(names))


@pytest.mark.parametrize(
    "values",
    [
        [str(at % 70 + 20) for at in range(2000)],
        [f"{at % 70 + 20:03}Y" for at in range(2000)],
        [f"{at % 4 * 20 + 20}" for at in range(200)],
        [f"{at % 10}.5" for at in range(200)],
        [f'"{at % 10},5"' for at in range(200)],
    ],
)
def test_what_was_measured_is_no_class(tmp_path: Path, values: list[str]) -> None:
    manifest = _manifest(tmp_path, "age,x", *[f"{value}," for value in values])

    with pytest.raises(DataError, match=r"different numbers .*: a measurement, not classes") as e:
        define_task(manifest, ["age"], LabelPolicy())
    assert "\n" not in str(e.value)


def test_ids_are_no_classes_in_any_number_of_rows(tmp_path: Path) -> None:
    manifest = _manifest(tmp_path, "who,x", *[f"P{at % 200}," for at in range(2000)])

    with pytest.raises(DataError, match=r"has 200 different values in 2000 rows .*hardly classes"):
        define_task(manifest, ["who"], LabelPolicy())


def test_accents_and_minus_signs_have_one_form(tmp_path: Path) -> None:
    manifest = _manifest(
        tmp_path, "O\u0308dem,finding", "1,o\u0308", "\u22121,\u00f6", "0,a", "0,b"
    )

    labels = _read(manifest, "\u00d6dem")

    assert labels.known[:, 0].tolist() == [True, False, True, True]
    assert define_task(manifest, ["finding"], LabelPolicy()).names == ("a", "b", "\u00f6")


def test_a_decimal_comma_is_a_decimal_point(tmp_path: Path) -> None:
    file = tmp_path / "train.csv"
    file.write_text("Path;Edema;Mass\na.png;1,0;0,0\nb.png;0,0;-1,0\nc.png;1,0;1,00\n")

    labels = _read(read_manifest(file, name="train"), "Edema", "Mass")

    assert labels.values.tolist() == [[1, 0], [0, 0], [1, 1]]
    assert labels.known.tolist() == [[True, True], [True, False], [True, True]]


def test_sex_as_a_label_is_what_the_file_says(tmp_path: Path) -> None:
    manifest = _manifest(tmp_path, "sex,x", "Male,", "Female,", "male,")

    labels = _read(manifest, "sex", policy=LabelPolicy(positive="Female"))

    assert labels.values[:, 0].tolist() == [0, 1, 0]
    assert manifest.column("sex").tolist() == ["M", "F", "M"]


def test_counts_are_in_the_singular_where_they_are_one(tmp_path: Path) -> None:
    labels = _read(_manifest(tmp_path, "Edema,x", "1,", ","), "Edema")

    (sentence,) = one_class_labels(count_labels(labels, ("Edema",)), LabelPolicy())

    assert sentence.startswith("label 'Edema' has 1 positive, 0 negatives and 1 masked row, so")
