"""Text gives the ids of keras.layers.TextVectorization and of the legacy Tokenizer."""

import json
import os
import warnings

import numpy as np
import pytest

from kerasql.registry.errors import BadRow, InvalidPreprocess
from kerasql.registry.preprocess import Text, preprocessor_from_json
from kerasql.registry.signature import TensorSpec

SPEC = TensorSpec("words", "int64", (8,))
WORDS = ["the", "film", "was", "great", "a", "not", "good", "it's", "its", "don", "über", "ÜBER"]
WORDS += [
    "naïve",
    "😀",
    "the film",
    "film was",
    "é",
    "good!",
    "e",
    "t",
    " ",
    "...",
    "t h",
    "日本",
    "[UNK]",
]
SENTENCES = [
    "",
    " ",
    "the film was great",
    "The FILM was GREAT!!!",
    "it's  not\ta good\nfilm...",
    "ÜBER über Über naïve NAÏVE",
    "don't (the) [film] {was} <great> a/b c\\d e_f g-h 'q' \"r\" `s` ~t ^u |v",
    "film" * 50,
    " ".join(["the film was not good"] * 7),
    "emoji 😀 and 日本 日本語 film",
    "non\u00a0breaking\u2003spaces the\u3000film",
    "vertical\x0btab form\x0cfeed return\r\nfilm",
    "separators\x1cfilm\x1dfilm\x85film",
    "combining e\u0301 versus \u00e9",
    "\u0130stanbul \u0131\u0131 ẞ ß \ufb01lm",
    "zero\u200bwidth null\x00film",
    "[UNK] film [UNK]",
    "good! good",
    "123 the 4.5",
    "...",
    "the",
]


@pytest.fixture(scope="module")
def keras():
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TensorFlow's own import
        import keras
        import tensorflow  # noqa: F401
    return keras


def through(text, sentences, spec=SPEC):
    text.check(spec)
    return text.finish(np.stack([text.prepare(s, spec) for s in sentences]), spec)


@pytest.mark.parametrize(
    ("split", "ngrams"),
    [
        *[(split, n) for split in ("whitespace", "character") for n in (None, 1, 2, (2,), (3, 1))],
        *[(None, n) for n in (None, 1, 2)],
    ],
)
@pytest.mark.parametrize(
    "standardize", ["lower_and_strip_punctuation", "lower", "strip_punctuation", None]
)
def test_ids_equal_text_vectorization(keras, standardize, split, ngrams):
    options = {"standardize": standardize, "split": split, "ngrams": ngrams}
    layer = keras.layers.TextVectorization(vocabulary=WORDS, output_sequence_length=8, **options)
    expected = np.asarray(layer(np.array(SENTENCES, object)[:, None]))
    found = through(Text(WORDS, sequence_length=8, **options), SENTENCES)
    assert np.array_equal(found, expected)
    assert (expected > 1).any(), "some words must be known, else this proves little"


@pytest.mark.parametrize("mode", ["multi_hot", "count"])
@pytest.mark.parametrize("split", ["whitespace", "character", None])
@pytest.mark.parametrize("ngrams", [None, 2])
def test_counts_equal_text_vectorization(keras, mode, split, ngrams):
    options = {"output_mode": mode, "split": split, "ngrams": ngrams}
    layer = keras.layers.TextVectorization(vocabulary=WORDS, **options)
    expected = np.asarray(layer(np.array(SENTENCES, object)[:, None]))
    spec = TensorSpec("bag", "float32", (len(WORDS) + 1,))
    assert np.array_equal(through(Text(WORDS, **options), SENTENCES, spec), expected)


@pytest.mark.parametrize("mode", ["int", "count"])
def test_the_vocabulary_an_adapted_layer_gives_is_taken_as_it_is(keras, mode):
    length = {"output_sequence_length": 8} if mode == "int" else {}
    layer = keras.layers.TextVectorization(output_mode=mode, max_tokens=12, **length)
    layer.adapt(np.array(SENTENCES, object))
    text = Text(layer.get_vocabulary(), output_mode=mode)
    spec = SPEC if mode == "int" else TensorSpec("bag", "float32", (layer.vocabulary_size(),))
    expected = np.asarray(layer(np.array(SENTENCES, object)[:, None]))
    assert np.array_equal(through(text, SENTENCES, spec), expected)


def fitted(**options):
    from keras.src.legacy.preprocessing.text import Tokenizer

    tokenizer = Tokenizer(**options)
    tokenizer.fit_on_texts(SENTENCES[2:12])
    return tokenizer


TOKENIZERS = [
    {},
    {"num_words": 6},
    {"oov_token": "<OOV>"},
    {"oov_token": "<OOV>", "num_words": 5},
    {"lower": False},
    {"filters": "!?", "oov_token": "[UNK]"},
    {"filters": ""},
    {"char_level": True},
    {"char_level": True, "lower": False, "oov_token": "~~", "num_words": 20},
]


@pytest.mark.parametrize("options", TOKENIZERS, ids=str)
@pytest.mark.parametrize("padding", ["pre", "post"])
@pytest.mark.parametrize("truncating", ["pre", "post"])
def test_ids_equal_tokenizer_and_pad_sequences(keras, options, padding, truncating):
    tokenizer = fitted(**options)
    pad = {"padding": padding, "truncating": truncating, "value": 7.0}
    sequences = tokenizer.texts_to_sequences(SENTENCES)
    expected = keras.utils.pad_sequences(sequences, maxlen=8, **pad)
    text = Text(tokenizer.word_index, like="Tokenizer", sequence_length=8, **options, **pad)
    assert np.array_equal(through(text, SENTENCES), expected)


def test_padding_defaults_to_what_pad_sequences_defaults_to(keras):
    tokenizer = fitted()
    expected = keras.utils.pad_sequences(tokenizer.texts_to_sequences(SENTENCES), maxlen=8)
    assert np.array_equal(through(Text(tokenizer.word_index, "Tokenizer"), SENTENCES), expected)


@pytest.mark.parametrize("options", TOKENIZERS, ids=str)
@pytest.mark.parametrize("mode", ["binary", "count", "freq"])
def test_matrix_equals_tokenizer(keras, options, mode):
    tokenizer = fitted(**options)
    expected = tokenizer.texts_to_matrix(SENTENCES, mode)
    text = Text(tokenizer.word_index, like="Tokenizer", output_mode=mode, **options)
    spec = TensorSpec("bag", "float64", expected.shape[1:])
    assert np.array_equal(through(text, SENTENCES, spec), expected)


def test_the_length_is_taken_from_the_input():
    assert through(Text(WORDS), ["the film"], TensorSpec("x", "float32", (3,))).tolist() == [
        [2.0, 3.0, 0.0]
    ]


def test_the_result_has_the_dtype_of_the_input():
    for dtype in ("int32", "int64", "float32"):
        assert through(Text(WORDS), ["a"], TensorSpec("x", dtype, (2,))).dtype == dtype


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "NULL"),
        (3, "text is expected, a int was given"),
        (b"the", "a bytes was given"),
        (["the"], "a list was given"),
        ("lone \ud800 surrogate", "not valid Unicode"),
    ],
)
def test_what_is_no_text_is_a_bad_row(value, reason):
    with pytest.raises(BadRow, match=reason):
        Text(WORDS).prepare(value, SPEC)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"like": "BertTokenizer"}, "'TextVectorization', 'Tokenizer'"),
        (
            {"standardize": "upper"},
            "None, 'strip_punctuation', 'lower_and_strip_punctuation', 'lower'",
        ),
        ({"split": " "}, "None, 'whitespace', 'character'"),
        ({"output_mode": "tf_idf"}, "'int', 'multi_hot', 'count'"),
        ({"output_mode": "binary"}, "'int', 'multi_hot', 'count'"),
        ({"output_mode": "count", "sequence_length": 3}, "output_mode='int'"),
        ({"ngrams": 0}, "at least 1"),
        ({"ngrams": "2"}, "whole number"),
        ({"sequence_length": 0}, "at least 1"),
        ({"num_words": 3}, "belongs to like='Tokenizer'"),
        ({"padding": "post"}, "belongs to like='Tokenizer'"),
        ({"like": "Tokenizer", "vocabulary": {"a": 1}, "ngrams": 2}, "like='TextVectorization'"),
        ({"like": "Tokenizer"}, "word_index"),
        ({"like": "Tokenizer", "vocabulary": {"a": 0}}, "from 1"),
        ({"like": "Tokenizer", "vocabulary": {"a": 1}, "oov_token": "<OOV>"}, "not in the vocab"),
        ({"vocabulary": []}, "at least one word"),
        ({"vocabulary": "words.txt"}, "list of words"),
        ({"vocabulary": ["a", "b", "a"]}, "twice"),
        ({"vocabulary": ["a", ""]}, "holds '' at 1"),
        ({"vocabulary": ["", "[UNK]"]}, "at least one word"),
    ],
)
def test_a_wrong_option_is_refused_with_what_is_allowed(options, reason):
    with pytest.raises(InvalidPreprocess, match=reason):
        Text(**{"vocabulary": WORDS} | options)


@pytest.mark.parametrize("vocabulary", [[], ["a", "b", "a"], ["a", ""]])
def test_the_vocabularies_that_text_refuses_are_refused_by_keras(keras, vocabulary):
    with pytest.raises(ValueError, match="vocab"):
        keras.layers.TextVectorization(vocabulary=vocabulary)


@pytest.mark.parametrize(
    ("text", "dtype", "shape", "reason"),
    [
        (Text(WORDS), "int64", (None,), "give sequence_length"),
        (Text(WORDS, sequence_length=5), "int64", (8,), "cannot take 5 ids"),
        (Text(WORDS), "int64", (8, 8), "any length"),
        (Text(WORDS, output_mode="count"), "float32", (8,), "cannot take 26 ids"),
        (Text(WORDS), "string", (1,), r"Tensor\(\) passes it on"),
    ],
)
def test_a_text_that_does_not_fit_the_input_is_refused(text, dtype, shape, reason):
    with pytest.raises(InvalidPreprocess, match=reason):
        text.check(TensorSpec("x", dtype, shape))


@pytest.mark.parametrize(
    "text",
    [
        Text(WORDS),
        Text(np.array(WORDS), ngrams=[1, 3], standardize=None, split=None, sequence_length=4),
        Text({"b": 2, "a": 1, "<OOV>": 9}, "Tokenizer", oov_token="<OOV>", value=0, padding="post"),
    ],
)
def test_json_gives_the_same_preprocessor_back(text):
    stored = json.dumps(text.to_json())
    assert preprocessor_from_json(json.loads(stored)) == text
    assert json.dumps(preprocessor_from_json(json.loads(stored)).to_json()) == stored


def test_json_of_equal_vocabularies_is_equal():
    one = Text({"b": 2, "a": 1}, "Tokenizer").to_json()
    other = Text({"a": 1, "b": 2}, "Tokenizer").to_json()
    assert json.dumps(one) == json.dumps(other)
    assert one == {"kind": "text", "vocabulary": {"a": 1, "b": 2}, "like": "Tokenizer"}
    assert Text(["", "[UNK]", "a"]).to_json() == Text(["a"]).to_json()


def test_an_example_has_known_and_unknown_words():
    for text in (Text(WORDS), Text({"a": 1, "b": 2, "?": 3}, "Tokenizer", oov_token="?")):
        ids = text.prepare(text.example(SPEC, np.random.default_rng(0)), SPEC)
        assert len(set(ids.tolist())) > 1


def test_describe_counts_the_words():
    sentence = Text(WORDS, sequence_length=8).describe()
    assert sentence == "text is turned into int, 8 long by TextVectorization with 25 words"
    assert Text(WORDS).runs_code is False
