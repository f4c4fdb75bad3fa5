"""Files that are not Keras models, named for what they are by their first bytes."""

from __future__ import annotations

import json
from pathlib import Path

from kerasql.registry.h5.shown import shown

HEAD_BYTES = 4096

PACKED = "it is packed ({}); unpack it first"
PICTURE = "it is a picture ({}), not a model"
AGAIN = "download the file itself"
SAVE = "save the model in Keras: model.save('m.h5')"

SIGNATURES = (
    (b"version https://git-lfs", "it is a Git LFS pointer, not the file; fetch it: git lfs pull"),
    (b"\x1f\x8b", PACKED.format("gzip")),
    (b"BZh", PACKED.format("bzip2")),
    (b"\xfd7zXZ\0", PACKED.format("xz")),
    (b"7z\xbc\xaf\x27\x1c", PACKED.format("7z")),
    (b"Rar!\x1a\x07", PACKED.format("RAR")),
    (b"\x28\xb5\x2f\xfd", PACKED.format("Zstandard")),
    (b"\x93NUMPY", f"it is a NumPy array (.npy), not a model; {SAVE}"),
    (b"PAR1", "it is a Parquet table, not a model"),
    (b"ARROW1", "it is an Arrow table, not a model"),
    (b"SQLite format 3", "it is an SQLite database, not a model"),
    (b"\x89PNG", PICTURE.format("PNG")),
    (b"\xff\xd8\xff", PICTURE.format("JPEG")),
    (b"GIF8", PICTURE.format("GIF")),
    (b"RIFF", "it is a picture or a sound (RIFF), not a model"),
    (b"%PDF", "it is a PDF document, not a model"),
    (b"\xd0\xcf\x11\xe0", "it is an old Office document (Word, Excel), not a model"),
    (b"\x7fELF", "it is a program, not a model"),
    (b"MZ", "it is a Windows program, not a model"),
    (b"MATLAB 7.3", "it is a MATLAB file; kerasql takes Keras models alone"),
    (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19", "it is a PyTorch model (a Python pickle); "
     "kerasql never opens one and takes Keras models alone"),
    (b"\x80", "it is a Python pickle; kerasql never opens one; save it with model.save('m.h5')"),
    (b"model_checkpoint_path:", f"it lists TensorFlow checkpoints and holds none; {SAVE}"),
)  # fmt: skip

PAGES = (
    (b"net name=", "it is the .xml of an OpenVINO network; register the Keras file it was made of"),
    (b"quota exceeded", "it is Google Drive's page 'quota exceeded'; wait a day or copy the file"),
    (b"virus scan", f"it is Google Drive's warning page, not the file; confirm it and {AGAIN}"),
    (b"github", f"it is a GitHub page (HTML page), not the model; {AGAIN} (Raw, Download)"),
    (b"huggingface", f"it is a Hugging Face page (HTML page), not the model; {AGAIN}"),
    (b"<error", "it is a storage service's error message; download it again"),
    (b"<?xml", "it is an XML page, probably a storage service's error message; download it again"),
    (b"", "it is an HTML page, not a model; download the file itself, not the page about it"),
)
"""What a text that begins with ``<`` is, by the first of these words in it."""

OBJECTS = (
    ("class_name", "it is JSON: an architecture without weights (model.to_json()); {SAVE}"),
    ("modelTopology", "it is JSON: a TensorFlow.js model; export it as Keras (.h5)"),
    ("nbformat", "it is JSON: a Jupyter notebook; run it and register the model it saves"),
    ("documentation_url", f"it is JSON: an answer of GitHub, not the file; {AGAIN}"),
    ("error", f"it is JSON: a server's error message, not the file; {AGAIN}"),
    ("message", f"it is JSON: a server's message, not the file; {AGAIN}"),
    ("", "it is JSON; a model needs its weights too: save the whole with model.save('m.h5')"),
)

SUFFIXES = (
    (".onnx", "it is an ONNX model; register the Keras model it was made of"),
    (".pb", f"it is a TensorFlow graph (.pb); load its folder in Keras and {SAVE}"),
    (".index", f"it is a part of a TensorFlow checkpoint; {SAVE}"),
    (".data-00000-of-00001", f"it is a part of a TensorFlow checkpoint; {SAVE}"),
    (".bin", "it is the weights of another format without their description"),
)
"""Formats whose bytes say nothing: then the name may."""


def what_it_is(head: bytes, name: str) -> str:
    """One sentence about a file that is neither HDF5 nor ZIP: what it is and what to do."""
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    for signature, meaning in SIGNATURES:
        if text.startswith(signature):
            return meaning
    if text.startswith(b"<"):
        return next(meaning for word, meaning in PAGES if word in text.lower())
    if text.startswith(b"{"):
        return _object(text)
    if head[4:8] == b"TFL3":
        return "it is a TensorFlow Lite model; register the Keras model it was made of"
    if head[257:262] == b"ustar":
        return PACKED.format("tar")
    if head[8:10] == b'{"' and int.from_bytes(head[:8], "little") < 2**32:
        return f"it is a safetensors file (weights without architecture); {SAVE}"
    if not head.strip(b"\0"):
        return "it begins with zero bytes alone; its download was not finished: download it again"
    return _protobuf(head) or _by_name(name) or _other(head, text)


def _object(text: bytes) -> str:
    keys = text.decode("utf-8", "replace")
    meaning = next(meaning for key, meaning in OBJECTS if not key or json.dumps(key) in keys)
    return meaning.replace("{SAVE}", SAVE)


def _protobuf(head: bytes) -> str | None:
    """Field 1 a small number and then field 2: ONNX counts from 3, a SavedModel says 1."""
    if head[:1] != b"\x08" or head[2:3] not in (b"\x12", b"\x1a", b"\x3a", b"\x42"):
        return None
    if head[1] == 1:
        return f"it is the saved_model.pb of a SavedModel folder; load the folder and {SAVE}"
    return dict(SUFFIXES)[".onnx"] if head[1] < 32 else None


def _by_name(name: str) -> str | None:
    return next((meaning for end, meaning in SUFFIXES if name.lower().endswith(end)), None)


def _other(head: bytes, text: bytes) -> str:
    try:
        line = text[:200].decode("ascii").splitlines()[0]
    except (UnicodeDecodeError, IndexError):
        return f"it is neither HDF5 nor a .keras archive (it begins with {head[:12]!r})"
    if not line.isprintable():
        return f"it is neither HDF5 nor a .keras archive (it begins with {head[:12]!r})"
    return f"it is text, not a model: {shown(line, 60)!r}; download or save it again"


def what_folder(path: Path) -> str:
    """One sentence about a folder."""
    if (path / "saved_model.pb").is_file():
        return "it is a SavedModel folder; load it and save one file: model.save('m.h5')"
    if (path / "config.json").is_file():
        return "it is the folder of an unpacked .keras archive; zip the files in it"
    return "it is a folder (a SavedModel?); save one file: model.save('m.h5')"
