"""Text to the ids a network was trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from ..errors import BadRow, InvalidPreprocess
from ..signature import TensorSpec
from .options import (
    from_options,
    input_name,
    jsonable,
    numbers,
    numpy_dtype,
    one_of,
    whole_number,
)

PUNCTUATION = b"!\"#$%&()*+,-./:;<=>?@[\\]^_`{|}~'"
TOKENIZER_FILTERS = '!"#$%&()*+,-./:;<=>?@[\\]^_`{|}~\t\n'
LOWER = ("lower", "lower_and_strip_punctuation")
STRIP = ("strip_punctuation", "lower_and_strip_punctuation")
MODES = {
    "TextVectorization": ("int", "multi_hot", "count"),
    "Tokenizer": ("int", "binary", "count", "freq"),
}
OPTIONS = {  # what belongs to one of the two only
    "TextVectorization": ("standardize", "split", "ngrams"),
    "Tokenizer": (
        "num_words",
        "oov_token",
        "filters",
        "lower",
        "char_level",
        "padding",
        "truncating",
        "value",
    ),
}


@dataclass(frozen=True)
class Text:
    """A string to ids or counts, as the vectorizer of the training did it.

    vocabulary: for ``TextVectorization`` the list of words (``get_vocabulary()``, with or without
        its leading '' and '[UNK]'); for ``Tokenizer`` its ``word_index``.
    like: ``TextVectorization`` = keras.layers.TextVectorization(vocabulary=…);
        ``Tokenizer`` = the legacy Tokenizer, then keras.utils.pad_sequences.
    output_mode: as the layer's (int, multi_hot, count); with ``Tokenizer`` int is
        texts_to_sequences, binary, count and freq are texts_to_matrix.
    sequence_length: output_sequence_length, or pad_sequences' maxlen; None takes the input's.
    standardize, split, ngrams: the layer's. num_words, oov_token, filters, lower, char_level: the
        Tokenizer's. padding, truncating, value: pad_sequences'.
    """

    vocabulary: Any
    like: str = "TextVectorization"
    output_mode: str = "int"
    sequence_length: int | None = None
    standardize: str | None = "lower_and_strip_punctuation"
    split: str | None = "whitespace"
    ngrams: int | tuple[int, ...] | None = None
    num_words: int | None = None
    oov_token: str | None = None
    filters: str = TOKENIZER_FILTERS
    lower: bool = True
    char_level: bool = False
    padding: str = "pre"
    truncating: str = "pre"
    value: float = 0.0

    runs_code: ClassVar[bool] = False

    def __post_init__(self) -> None:
        one_of("like", self.like, MODES)
        one_of(f"with like={self.like!r} output_mode", self.output_mode, MODES[self.like])
        one_of("standardize", self.standardize, (None, *STRIP, "lower"))
        one_of("split", self.split, (None, "whitespace", "character"))
        one_of("lower", self.lower, (True, False))
        one_of("char_level", self.char_level, (True, False))
        one_of("padding", self.padding, ("pre", "post"))
        one_of("truncating", self.truncating, ("pre", "post"))
        for option in ("sequence_length", "num_words"):
            if getattr(self, option) is not None:
                whole_number(option, getattr(self, option), least=1)
        if self.output_mode != "int" and self.sequence_length is not None:
            raise InvalidPreprocess("sequence_length belongs to output_mode='int'")
        object.__setattr__(self, "value", numbers("value", self.value))
        self._check_belongs()
        object.__setattr__(self, "ngrams", _ngrams(self.ngrams))
        keep = _words if self.like == "TextVectorization" else _word_index
        object.__setattr__(self, "vocabulary", keep(self))

    def _check_belongs(self) -> None:
        for like, options in OPTIONS.items():
            for option in options:
                if like != self.like and getattr(self, option) != getattr(type(self), option):
                    raise InvalidPreprocess(f"{option} belongs to like={like!r}")

    def to_json(self) -> dict[str, Any]:
        """Plain JSON with ``kind``; options at their default are left out."""
        value = jsonable(self, "text")
        if self.like == "Tokenizer":
            value["vocabulary"] = dict(self.vocabulary)
        return value

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Text:
        """The preprocessor that ``to_json`` wrote."""
        text: Text = from_options(cls, value)
        return text

    def check(self, spec: TensorSpec) -> None:
        """Raise InvalidPreprocess when the ids cannot fit the input."""
        if spec.dtype == "string":
            raise InvalidPreprocess(
                f"{input_name(spec)} reads text itself; Tensor() passes it on as it is"
            )
        length = self._length(spec)
        if len(spec.shape) != 1 or spec.shape[0] not in (None, length):
            raise InvalidPreprocess(f"{input_name(spec)} cannot take {length} ids of a text")

    def _length(self, spec: TensorSpec) -> int:
        """How many numbers one row becomes."""
        if self.output_mode != "int":
            return self._depth
        length = self.sequence_length or (spec.shape[0] if len(spec.shape) == 1 else None)
        if length is None:
            raise InvalidPreprocess(
                f"{input_name(spec)} takes texts of any length; give sequence_length"
            )
        return length

    @cached_property
    def _index(self) -> dict[Any, int]:
        """From a token (UTF-8 bytes for TextVectorization) to its id."""
        if self.like == "Tokenizer":
            return dict(self.vocabulary)
        first = 2 if self.output_mode == "int" else 1
        return {word.encode(): at for at, word in enumerate(self.vocabulary, first)}

    @property
    def _depth(self) -> int:
        """The width of the matrix modes."""
        return self.num_words or len(self.vocabulary) + 1

    def prepare(self, value: Any, spec: TensorSpec) -> np.ndarray:
        """One text as (sequence_length,) ids, or the vocabulary's counts, in the input's dtype."""
        if value is None:
            raise BadRow("NULL")
        if not isinstance(value, str):
            raise BadRow(f"text is expected, a {type(value).__name__} was given")
        dtype = numpy_dtype(spec)
        ids = (self._vectorized if self.like == "TextVectorization" else self._sequence)(value)
        if self.output_mode != "int":
            return self._counted(ids, dtype)
        return self._padded(ids, self._length(spec), dtype)

    def _vectorized(self, text: str) -> list[int]:
        """TextVectorization works on UTF-8 bytes: only ASCII letters are lowered, only ASCII
        whitespace splits.
        """
        try:
            data = text.encode()
        except UnicodeEncodeError as error:
            raise BadRow(f"the text is not valid Unicode ({error.reason})") from None
        if self.standardize in LOWER:
            data = data.lower()
        if self.standardize in STRIP:
            data = data.translate(None, PUNCTUATION)
        tokens = [data]
        if self.split == "whitespace":
            tokens = data.split()
        elif self.split == "character":
            tokens = [character.encode() for character in data.decode()]
        if self.ngrams is not None:
            tokens = [gram for width in self._widths for gram in _grams(tokens, width)]
        if self.output_mode == "int":
            return [self._index.get(token, 1) if token else 0 for token in tokens]
        return [self._index.get(token, 0) for token in tokens if token]

    @property
    def _widths(self) -> tuple[int, ...]:
        return (
            tuple(range(1, self.ngrams + 1)) if isinstance(self.ngrams, int) else self.ngrams or ()
        )

    def _sequence(self, text: str) -> list[int]:
        """Tokenizer.texts_to_sequences."""
        text = text.lower() if self.lower else text
        words = list(text) if self.char_level else text.translate(self._separators).split(" ")
        unknown = None if self.oov_token is None else self._index[self.oov_token]
        ids = []
        for word in words if self.char_level else filter(None, words):
            at = self._index.get(word, unknown)
            if at is not None and self.num_words and at >= self.num_words:
                at = unknown
            if at is not None:
                ids.append(at)
        return ids

    @cached_property
    def _separators(self) -> dict[int, str]:
        return str.maketrans(dict.fromkeys(self.filters, " "))

    def _counted(self, ids: list[int], dtype: np.dtype[Any]) -> np.ndarray:
        known = np.array([at for at in ids if at < self._depth], np.intp)
        counts = np.bincount(known, minlength=self._depth)
        if self.output_mode in ("multi_hot", "binary"):
            return (counts > 0).astype(dtype)
        if self.output_mode == "freq":
            return (counts / max(len(ids), 1)).astype(dtype)
        return counts.astype(dtype)

    def _padded(self, ids: list[int], length: int, dtype: np.dtype[Any]) -> np.ndarray:
        """keras.utils.pad_sequences; TextVectorization pads and cuts at the end, with 0."""
        vectorization = self.like == "TextVectorization"
        ids = ids[:length] if vectorization or self.truncating == "post" else ids[-length:]
        row = np.full(length, self.value, dtype)
        start = 0 if vectorization or self.padding == "post" else length - len(ids)
        row[start : start + len(ids)] = ids
        return row

    def finish(self, batch: np.ndarray, spec: TensorSpec) -> np.ndarray:
        """Stacked rows in the input's dtype."""
        return batch.astype(numpy_dtype(spec), copy=False)

    def describe(self) -> str:
        """One sentence for people."""
        length = f", {self.sequence_length} long" if self.sequence_length else ""
        return (
            f"text is turned into {self.output_mode}{length} by {self.like} "
            f"with {len(self.vocabulary)} words"
        )

    def example(self, spec: TensorSpec, rng: np.random.Generator) -> str:
        """Some words of the vocabulary and an unknown one."""
        words = [pair if isinstance(pair, str) else pair[0] for pair in self.vocabulary]
        return " ".join([*rng.choice(words, 8).tolist(), "Überraschung"])


def _grams(tokens: list[bytes], width: int) -> list[bytes]:
    return [b" ".join(tokens[i : i + width]) for i in range(len(tokens) - width + 1)]


def _ngrams(value: Any) -> int | tuple[int, ...] | None:
    widths = value if isinstance(value, (tuple, list)) else (value,)
    if value is not None:
        for width in widths:
            whole_number("ngrams", width, least=1)
    return tuple(value) if isinstance(value, list) else value


def _words(text: Text) -> tuple[str, ...]:
    """TextVectorization's words without '' and '[UNK]'; what Keras refuses is refused."""
    given = text.vocabulary.tolist() if isinstance(text.vocabulary, np.ndarray) else text.vocabulary
    if not isinstance(given, (list, tuple)) or not all(isinstance(word, str) for word in given):
        raise InvalidPreprocess("vocabulary must be a list of words (layer.get_vocabulary())")
    words = tuple(map(str, given))
    special = ("", "[UNK]") if text.output_mode == "int" else ("[UNK]",)
    if words[: len(special)] == special:
        words = words[len(special) :]
    if "" in words:
        raise InvalidPreprocess(f"vocabulary holds '' at {words.index('')}, Keras pads with it")
    if len(set(words)) < len(words) or not words:
        raise InvalidPreprocess("vocabulary must hold at least one word and none of them twice")
    return words


def _word_index(text: Text) -> tuple[tuple[str, int], ...]:
    """Tokenizer's word_index as pairs in the order of the ids."""
    given = text.vocabulary
    pairs = tuple(given.items()) if isinstance(given, Mapping) else given
    if not pairs or not all(_is_pair(pair) for pair in pairs):
        raise InvalidPreprocess("vocabulary must be a Tokenizer's word_index: words to ids from 1")
    if text.oov_token is not None and text.oov_token not in dict(pairs):
        raise InvalidPreprocess(f"oov_token={text.oov_token!r} is not in the vocabulary")
    return tuple(sorted(((word, int(at)) for word, at in pairs), key=lambda pair: pair[1]))


def _is_pair(pair: Any) -> bool:
    return (
        isinstance(pair, (tuple, list))
        and len(pair) == 2
        and isinstance(pair[0], str)
        and isinstance(pair[1], (int, np.integer))
        and int(pair[1]) >= 1
    )
