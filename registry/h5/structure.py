"""Does an HDF5 file keep to itself and tell the truth about its size?

Keras follows whatever an HDF5 file says: links into other files, datasets whose bytes lie
elsewhere, shapes larger than the disk. All of that is refused here, by its place in the file. No
weights are read; the low-level interface of h5py shows each object before it is believed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

import h5py
from h5py import h5a, h5d, h5g, h5l, h5o, h5s, h5t, h5z

from kerasql.registry.errors import InvalidFile, RefusedFile
from kerasql.registry.h5.shown import shown

LARGEST_TEXT_BYTES = 64 * 2**20
MOST_OBJECTS = 100_000
MOST_ATTRIBUTES = 1_000
"""Of one object; Keras writes a handful."""

DEEPEST_GROUP = 64
MOST_EXPANSION = 1032
"""Deflate cannot shrink more: a dataset beyond that declares bytes it has not."""

MOST_TOTAL_EXPANSION = 100
SMALL_BYTES = 64 * 2**20
"""A file may declare this much however small it is: new weights are all zeros and pack well."""

UNWRITTEN_BYTES = 4096
"""HDF5 sets aside no bytes for a small dataset that was never written."""

MOST_OUTSIDE_BYTES = 256 * 2**20
"""Bytes outside datasets: attributes of any length, which HDF5 reads whole or not at all."""

FILTERS = {h5z.FILTER_DEFLATE, h5z.FILTER_SHUFFLE, h5z.FILTER_FLETCHER32, h5z.FILTER_LZF}
"""gzip, shuffle, fletcher32 and lzf: what h5py itself brings. Others may load a library."""

KINDS = {
    h5t.STRING: "text of any length",
    h5t.BITFIELD: "bit fields",
    h5t.OPAQUE: "opaque bytes",
    h5t.COMPOUND: "records of several fields",
    h5t.REFERENCE: "references to other objects",
    h5t.ENUM: "an enumeration",
    h5t.VLEN: "lists of any length",
    h5t.ARRAY: "arrays in each element",
    h5t.TIME: "times",
}


@dataclass(frozen=True)
class Stored:
    """One dataset: its place (``model_weights/dense/kernel:0``), shape and count of numbers."""

    place: str
    shape: tuple[int, ...]
    count: int
    is_integer: bool


def check_structure(name: str, file: h5py.File, size: int) -> list[Stored]:
    """The file's datasets; RefusedFile where it leaves the file or lies about its size."""
    found: list[Stored] = []
    declared = stored = 0
    for place, item in _objects(name, file, size):
        if isinstance(item, h5d.DatasetID):
            one, declares, stores = _dataset(name, place, item, size)
            found.append(one)
            declared, stored = declared + declares, stored + stores
    if stored > size:
        raise RefusedFile(
            name, f"its datasets declare {stored:,} stored bytes in a {size:,} byte file"
        )
    if declared > max(MOST_TOTAL_EXPANSION * size, SMALL_BYTES):
        raise RefusedFile(name, f"its datasets declare {declared:,} bytes in a {size:,} byte file")
    if size - stored > MOST_OUTSIDE_BYTES:
        raise RefusedFile(
            name,
            f"{size - stored:,} of its {size:,} bytes are in no dataset; "
            "write it anew: h5repack FILE NEW_FILE",
        )
    return found


def text_attribute(name: str, item: Any, key: str) -> str | None:
    """One piece of text, read only after its declared size; None where there is none."""
    if not h5a.exists(item.id, key.encode()):
        return None
    attribute = h5a.open(item.id, key.encode())
    is_text = attribute.get_type().get_class() == h5t.STRING
    space = attribute.get_space()
    if not is_text or space.get_simple_extent_npoints() != 1:
        raise InvalidFile(name, f"its attribute {key!r} is no text")
    value = item.attrs[key]
    value = value.item() if hasattr(value, "item") else value
    text = value.decode() if isinstance(value, bytes) else str(value)
    if len(text) > LARGEST_TEXT_BYTES:
        raise RefusedFile(name, f"its attribute {key!r} is larger than {LARGEST_TEXT_BYTES:,}")
    return text


def _objects(name: str, file: h5py.File, size: int) -> Iterator[tuple[str, Any]]:
    """Every object once, over hard links alone, so that no link is followed unseen."""
    seen = {h5o.get_info(file.id).addr}
    _check_attributes(name, "", file["/"].id, size)
    groups: list[tuple[str, Any, int]] = [("", file["/"].id, 0)]
    soft: list[tuple[str, Any, bytes]] = []
    count = 0
    while groups:
        where, group, depth = groups.pop()
        count += group.get_num_objs()
        if count > MOST_OBJECTS:
            raise RefusedFile(name, f"it holds more than {MOST_OBJECTS:,} objects")
        if depth > DEEPEST_GROUP:
            raise RefusedFile(
                name, f"the group {shown(where)!r} is nested deeper than {DEEPEST_GROUP} levels"
            )
        for key in group:
            place = f"{where}/{key.decode('utf-8', 'backslashreplace')}".lstrip("/")
            kind = group.links.get_info(key).type
            if kind == h5l.TYPE_SOFT:
                soft.append((place, group, key))
                continue
            if kind != h5l.TYPE_HARD:
                raise RefusedFile(name, f"the link {shown(place)!r} leads to another file")
            item = h5o.open(group, key)
            address = h5o.get_info(item).addr
            if address in seen:
                continue
            seen.add(address)
            _check_attributes(name, place, item, size)
            if isinstance(item, h5g.GroupID):
                groups.append((place, item, depth + 1))
            elif not isinstance(item, h5d.DatasetID):
                raise RefusedFile(name, f"{shown(place)!r} is a named type, not weights")
            yield place, item
    for place, group, key in soft:
        _check_soft_link(name, place, group, key)


def _check_soft_link(name: str, place: str, group: Any, key: bytes) -> None:
    """Only after every group was walked: its target cannot lie in another file any more."""
    try:
        h5o.open(group, key)
    except (KeyError, RuntimeError, OSError) as error:
        target = group.links.get_val(key).decode("utf-8", "backslashreplace")
        raise RefusedFile(
            name,
            f"the link {shown(place)!r} to {shown(target)!r} leads nowhere or in a circle",
        ) from error


def _check_attributes(name: str, place: str, item: Any, size: int) -> None:
    count = h5a.get_num_attrs(item)
    if count > MOST_ATTRIBUTES:
        raise RefusedFile(name, f"{shown(place or '/')!r} has {count:,} attributes")
    for index in range(count):
        attribute = h5a.open(item, index=index)
        declared = prod(attribute.shape or ()) * attribute.get_type().get_size()
        if declared > min(size, LARGEST_TEXT_BYTES):
            raise RefusedFile(
                name,
                f"the attribute {shown(attribute.name.decode('utf-8', 'replace'))!r} of "
                f"{shown(place or '/')!r} declares {declared:,} bytes in a {size:,} byte file",
            )


def _dataset(name: str, place: str, item: Any, size: int) -> tuple[Stored, int, int]:
    """The dataset, the bytes it declares, and the bytes it has in the file."""
    plan = item.get_create_plist()
    if plan.get_external_count() or plan.get_layout() == h5d.VIRTUAL:
        raise RefusedFile(name, f"the dataset {shown(place)!r} keeps its bytes in another file")
    filters = {plan.get_filter(index)[0] for index in range(plan.get_nfilters())}
    if unknown := sorted(filters - FILTERS):
        raise RefusedFile(
            name,
            f"the dataset {shown(place)!r} is packed with the HDF5 filter {unknown[0]}; "
            "save it with gzip or without compression",
        )
    kind = _numbers(name, place, item)
    space = item.get_space()
    shape = () if space.get_simple_extent_type() == h5s.NULL else tuple(item.shape)
    count = 0 if space.get_simple_extent_type() == h5s.NULL else prod(shape)
    stored, declared = item.get_storage_size(), count * kind.get_size()
    largest = declared
    if plan.get_layout() == h5d.CHUNKED:
        largest = max(declared, prod(plan.get_chunk()) * kind.get_size())
    elif plan.get_layout() == h5d.CONTIGUOUS and (item.get_offset() or 0) + stored > size:
        raise RefusedFile(name, f"the dataset {shown(place)!r} lies behind the file's end")
    if largest > stored * (MOST_EXPANSION if filters else 1) + UNWRITTEN_BYTES:
        raise RefusedFile(
            name,
            f"the dataset {shown(place)!r} declares {largest:,} bytes and has {stored:,} "
            f"in a {size:,} byte file",
        )
    is_integer = kind.get_class() == h5t.INTEGER
    return Stored(place, shape, count if _counts(kind) else 0, is_integer), declared, stored


def _numbers(name: str, place: str, item: Any) -> Any:
    """The type of the dataset's elements, which must be plain numbers or text of fixed length."""
    kind = item.get_type()
    if kind.committed():
        raise RefusedFile(name, f"the dataset {shown(place)!r} takes its type from elsewhere")
    what = kind.get_class()
    is_plain = (
        (what in (h5t.INTEGER, h5t.FLOAT) and kind.get_size() <= 16)
        # Keras stores bfloat16 and eight-bit floats as one or two opaque bytes, and NumPy a
        # boolean as an enumeration of FALSE and TRUE.
        or (what == h5t.OPAQUE and kind.get_size() <= 2)
        or (what == h5t.ENUM and kind.get_size() == 1 and kind.get_nmembers() <= 2)
        or (what == h5t.STRING and not kind.is_variable_str())
    )
    if not is_plain:
        raise RefusedFile(
            name,
            f"the dataset {shown(place)!r} holds {KINDS.get(what, 'odd numbers')}, not numbers",
        )
    return kind


def _counts(kind: Any) -> bool:
    return bool(kind.get_class() != h5t.STRING)
