"""Every real model, Keras 1.1 to 3.10, registers and answers in SQL what Keras 2 gave."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from benchmarks.ages import CODE, Case, inputs_of, real, sql_answers, sql_name
from pyspark.sql import SparkSession

from kerasql.registry.errors import RefusedFile
from kerasql.registry.h5.upgrade import MOST_NAMED
from kerasql.registry.store import Registry
from kerasql.udf.deploy import deploy

NAMES = [
    "k1_1_2_carnd_steering_lambda",
    "k2_0_5_emotion_mini_xception",
    "k2_0_9_lstm_imdb",
    "k2_2_4_seq2seq_katakana",
    "k3_10_0_cnc_multi_output",
    "k3_8_0_churn_mlp",
    "k3_8_0_mnist_cnn",
    "tf2_2_4_chatbot_bow_mlp",
    "tf2_2_4_garnet_1layer_custom",
    "tf2_4_0_keypoint_mlp",
    "tf2_4_0_resnet8_cifar10",
    "tf2_4_0_tm_waste",
    "tf2_4_0_toycar_autoencoder",
    "tf2_4_0_visual_wake_words",
    "tf2_9_0_audio_yamnet_esc10",
]
REFUSED = {
    "k1_1_2_carnd_steering_lambda": r"layers\[0\]\.class_name = 'Lambda' \(the layer 'lambda_1'\)",
    "tf2_2_4_garnet_1layer_custom": r"layers\[2\]\.class_name = 'GarNet'",
}
TRAINING_ONLY = "initializers, regularizers and constraints are left out: they act in training only"
GIVEN = "a Lambda calls the function given for it, not the one in the file"
HARD_SIGMOID = "`hard_sigmoid` kept as Keras 2 defined it"
EVERY_STEP = "`TimeDistributed` works on all steps at once, as in Keras 2"
STATE = "the initial state given as further inputs is the argument `initial_state`"
REWRITTEN = {
    "k1_1_2_carnd_steering_lambda": {GIVEN, "the names and arguments of Keras 1 are Keras 3's now"},
    "k2_0_9_lstm_imdb": {TRAINING_ONLY, HARD_SIGMOID},
    "k2_2_4_seq2seq_katakana": {TRAINING_ONLY, HARD_SIGMOID, EVERY_STEP, STATE},
    **{name: set() for name in NAMES if name.startswith("k3")},
}
"""What the version says was rewritten, where it is not TRAINING_ONLY alone."""


@pytest.fixture
def cases(data: Path) -> dict[str, Case]:
    return {case.path.stem: case for case in real()}


def test_they_are_all_there(cases: dict[str, Case]) -> None:
    assert sorted(cases) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_real_model_answers_in_sql(
    cases: dict[str, Case], sqlite_registry: Registry, session: SparkSession, name: str
) -> None:
    case = cases[name]
    if name in REFUSED:
        with pytest.raises(RefusedFile, match=REFUSED[name]):
            sqlite_registry.register(sql_name(case), case.path)
    version = sqlite_registry.register(
        sql_name(case), case.path, code=CODE.get(name), trust_code=name in CODE
    )
    rewritten = version.inspection["upgrade"]
    assert {one["rule"] for one in rewritten} == REWRITTEN.get(name, {TRAINING_ONLY})
    for one in rewritten:
        assert one["source"]
        assert len(one["layers"]) == min(one["count"], MOST_NAMED) > 0
    deploy(session, sqlite_registry)
    answers = sql_answers(session, case)
    assert len(answers) == len(inputs_of(case)[0][0])
    assert all(answer is not None for answer in answers)
    _, expected = inputs_of(case)
    if expected is not None:
        ours = np.array(answers).reshape(expected.shape)
        np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-5)
