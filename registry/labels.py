"""Class names from a text or CSV file, as the tools around Keras write them."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from pathlib import Path

from kerasql.registry.errors import InvalidLabels

LARGEST_BYTES = 16 * 2**20
# JSON, a web page saved under the wrong name, a pointer of Git LFS.
OTHER_TEXT = re.compile(r"\s*([{]|\[[\s\"]|<!|<html|<\?xml|version https://git-lfs)", re.IGNORECASE)
NUMBERED = re.compile(r"([0-9]+)[ \t]+(.+)")
HEADERS = {"label", "labels", "class", "classes", "class_name", "name", "category"}


def read_labels(path: str | Path) -> list[str]:
    """The class names in a file, in the order of the model's scores.

    Understood are one name per line; Teachable Machine's ``0 Rock`` lines; and CSV with one
    column or with ``index,name``, with or without a header. A byte-order mark and empty lines at
    the end do not matter. Numbered names are put in the order of their numbers, which must be 0,
    1, 2 … A name may come twice, as ``crane`` does in ImageNet. Raises InvalidLabels.
    """
    path = Path(path)
    text = _text(path).rstrip()
    lines = text.splitlines()
    if not lines:
        raise InvalidLabels(f"{path} holds no class names; write one per line")
    if OTHER_TEXT.match(text):
        raise InvalidLabels(f"{path} is no list of class names; write one per line")
    names = _from_csv(path, text) if path.suffix.lower() == ".csv" else _from_lines(lines)
    _check(path, names)
    return names


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise InvalidLabels(f"{path} is too large for a file of class names")
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidLabels(f"{path} is no text in UTF-8; save it as UTF-8") from None
    except OSError as error:
        raise InvalidLabels(f"{path} cannot be read: {error.strerror}") from None


def _from_lines(lines: list[str]) -> list[str]:
    matches = [NUMBERED.fullmatch(line.strip()) for line in lines]
    numbered = [(int(match[1]), match[2]) for match in matches if match]
    if len(numbered) == len(lines) and _counts_up(numbered):
        return [name for _, name in sorted(numbered)]
    return [line.strip() for line in lines]


def _from_csv(path: Path, text: str) -> list[str]:
    try:
        rows = [[cell.strip() for cell in row] for row in csv.reader(io.StringIO(text)) if row]
    except csv.Error as error:
        raise InvalidLabels(f"{path} is no CSV file: {error}") from None
    widths = {len(row) for row in rows}
    if widths == {1}:
        names = [row[0] for row in rows]
        return _from_lines(names[1:] if names[0].lower() in HEADERS else names)
    if widths != {2}:
        raise InvalidLabels(
            f"{path} has {_spelled(widths)} columns; class names are one column, or index,name"
        )
    return _from_pairs(path, rows)


def _from_pairs(path: Path, rows: list[list[str]]) -> list[str]:
    for index, name in ((0, 1), (1, 0)):
        body = rows if rows[0][index].isdecimal() else rows[1:]
        pairs = [(int(row[index]), row[name]) for row in body if row[index].isdecimal()]
        if len(pairs) == len(body) and _counts_up(pairs):
            return [label for _, label in sorted(pairs)]
    raise InvalidLabels(f"{path} has two columns, but none that counts 0, 1, 2 … to the end")


def _counts_up(pairs: list[tuple[int, str]]) -> bool:
    return bool(pairs) and sorted(number for number, _ in pairs) == list(range(len(pairs)))


def _check(path: Path, names: list[str]) -> None:
    if "" in names:
        raise InvalidLabels(f"class {names.index('')} of {path} is empty; every class has a name")
    if any(unicodedata.category(character) == "Cc" for name in names for character in name):
        raise InvalidLabels(f"{path} is no text file of class names; write one per line")


def _spelled(widths: set[int]) -> str:
    return " or ".join(map(str, sorted(widths)))
