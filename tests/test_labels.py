"""Class names from files as people really have them."""

from __future__ import annotations

from pathlib import Path

import pytest

from kerasql.registry.errors import InvalidLabels
from kerasql.registry.labels import read_labels


@pytest.mark.parametrize(
    ("name", "content", "labels"),
    [
        ("one.txt", b"daisy\ntulip\n", ["daisy", "tulip"]),
        ("blank lines at the end.txt", b"daisy\r\ntulip\r\n\r\n  \n", ["daisy", "tulip"]),
        ("teachable machine.txt", b"0 Rock\n1 Paper\n2 Class 3\n", ["Rock", "Paper", "Class 3"]),
        ("in another order.txt", b"1 Paper\n0 Rock\n", ["Rock", "Paper"]),
        ("numbers in names.txt", b"5 euro\n10 euro\n", ["5 euro", "10 euro"]),
        ("numbers alone.txt", b"0\n1\n2\n", ["0", "1", "2"]),
        ("mark.txt", "\ufeffÄpfel\nBirnen".encode(), ["Äpfel", "Birnen"]),
        ("mark.csv", "\ufeffOpen\r\nClose\r\n".encode(), ["Open", "Close"]),
        ("header.csv", b"label\ndaisy\ntulip\n", ["daisy", "tulip"]),
        ("header.txt", b"label\ndaisy\n", ["label", "daisy"]),
        ("quoted.csv", b'"Ankle boot"\n"T-shirt, top"\n', ["Ankle boot", "T-shirt, top"]),
        ("pairs.csv", b"0,daisy\n1,tulip\n", ["daisy", "tulip"]),
        ("pairs with header.csv", b"index,label\n1,tulip\n0,daisy\n", ["daisy", "tulip"]),
        ("pairs turned.csv", b"name,id\ntulip,1\ndaisy,0\n", ["daisy", "tulip"]),
        ("pairs of spaces.csv", b"0, daisy\n1, tulip\n\n", ["daisy", "tulip"]),
    ],
)
def test_class_names_are_read_in_the_order_of_the_scores(
    tmp_path: Path, name: str, content: bytes, labels: list[str]
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert read_labels(path) == labels


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("empty.txt", b"", "holds no class names"),
        ("blank.txt", b" \n\n", "holds no class names"),
        ("gap.txt", b"daisy\n\ntulip\n", "is empty; every class has a name"),
        ("latin.txt", "Äpfel".encode("latin-1"), "no text in UTF-8"),
        ("picture.txt", b"\x89PNG\r\n\x1a\n\0\0", "no text in UTF-8"),
        ("zeros.txt", b"\0\0\0", "no text file of class names"),
        ("page.txt", b"<!DOCTYPE html>\n<html>", "no list of class names"),
        ("labels.json", b'["daisy", "tulip"]', "no list of class names"),
        ("pointer.txt", b"version https://git-lfs.github.com/spec/v1\n", "no list of class names"),
        ("wide.csv", b"a,b,c\n", "has 3 columns"),
        ("ragged.csv", b"a,b\nc\n", "has 1 or 2 columns"),
        ("gaps.csv", b"0,daisy\n2,tulip\n", "none that counts 0, 1, 2"),
    ],
)
def test_nonsense_is_one_sentence_that_names_the_file(
    tmp_path: Path, name: str, content: bytes, sentence: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InvalidLabels, match=f"{name}.*{sentence}|{sentence}.*{name}"):
        read_labels(path)


def test_a_missing_file_and_a_folder_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InvalidLabels, match="cannot be read: No such file"):
        read_labels(tmp_path / "nothing.txt")
    with pytest.raises(InvalidLabels, match="cannot be read: Is a directory"):
        read_labels(tmp_path)


def test_the_label_files_beside_real_models_are_read(data: Path) -> None:
    beside = data / "h5" / "sidecars"
    waste = read_labels(beside / "tf2_4_0_tm_waste" / "labels.txt")
    hands = read_labels(beside / "tf2_4_0_keypoint_mlp" / "keypoint_classifier_label.csv")
    assert waste == ["cardboard", "plastic", "glass", "metal"]
    assert hands == ["Open", "Close", "Pointer"]


def test_every_other_file_beside_real_models_is_refused(data: Path) -> None:
    for path in (data / "h5" / "sidecars").glob("*/*"):
        if "label" not in path.name:
            with pytest.raises(InvalidLabels, match=path.name):
                read_labels(path)
