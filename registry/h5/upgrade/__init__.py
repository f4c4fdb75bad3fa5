"""Old architectures rewritten for Keras 3, one small named rule at a time; without Keras."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from kerasql.registry.errors import NotUnderstood
from kerasql.registry.h5.upgrade.branches import BRANCHES, ORDER_OF_AXES, prepare_keras1
from kerasql.registry.h5.upgrade.channels import CHANNELS_FIRST
from kerasql.registry.h5.upgrade.graph import Layer, Model, every_layer, parse
from kerasql.registry.h5.upgrade.inputs import ANY_BATCH, FROM_BUILD, give_inputs
from kerasql.registry.h5.upgrade.keras1 import KERAS1
from kerasql.registry.h5.upgrade.keras2 import KERAS2
from kerasql.registry.h5.upgrade.operators import OPERATORS
from kerasql.registry.h5.upgrade.preprocessing import PREPROCESSING
from kerasql.registry.h5.upgrade.rule import Facts, Rule
from kerasql.registry.h5.upgrade.theano import THEANO

RULES: tuple[Rule, ...] = (
    *KERAS1,
    *THEANO,
    *OPERATORS,
    *PREPROCESSING,
    *KERAS2,
    *CHANNELS_FIRST,
)
"""In the order they apply to a layer; those of an earlier Keras write what a later one wrote."""

KERAS1_ARGUMENTS = {"nb_filter", "border_mode", "dim_ordering", "W_regularizer", "input_dtype"}
"""What tells a file of Keras 1 that does not say which Keras wrote it."""

KERAS3_ARGUMENTS = {"batch_shape"}
"""What tells an architecture of Keras 3: Keras 1 and 2 wrote batch_input_shape."""

MOST_NAMED = 50
LONGEST_NAME = 200


@dataclass(frozen=True)
class Applied:
    """What was done and why: the rule's words, its source, and the layers, by their saved names.

    layers are the first MOST_NAMED of count.
    """

    rule: str
    source: str
    layers: tuple[str, ...]
    count: int


@dataclass(frozen=True)
class Upgraded:
    """An architecture for Keras 3, and what was rewritten on the way."""

    model: Model
    applied: tuple[Applied, ...]


def upgrade(config: Mapping[str, Any], facts: Facts) -> Upgraded:
    """The architecture of a file of Keras 1 or 2 for Keras 3; NotUnderstood where it is none."""
    try:
        return rewritten(config, facts)
    except NotUnderstood:
        raise
    except Exception as error:
        # A stranger's values of any kind, in any place: what a rule trips over is no Keras model.
        said = f"{type(error).__name__}: {error}"[:200]
        raise NotUnderstood("model", f"no Keras writes it so ({said})") from error


def applied(rule: Rule, names: list[str]) -> Applied:
    """What the report says of a rule and the layers it changed."""
    kept = tuple(name[:LONGEST_NAME] for name in names[:MOST_NAMED])
    return Applied(rule.says, rule.source, kept, len(names))


def rewritten(config: Mapping[str, Any], facts: Facts) -> Upgraded:
    """The same, for values as Keras writes them."""
    model = parse(config)
    facts = replace(facts, masks=any(map(makes_masks, every_layer(model))))
    done: dict[Rule, list[str]] = {}
    prepare_keras1(model, facts, done)
    give_inputs(model, done)
    # What is held before what holds it: a wrapper's rule may copy it, as Keras 3's already.
    for layer in reversed(list(every_layer(model))):
        for rule in RULES:
            if applies(rule, layer, facts):
                done.setdefault(rule, []).append(layer.saved_name)
    ordered = sorted(done, key=lambda rule: rule.says)
    return Upgraded(
        model,
        tuple(applied(rule, done[rule][::-1]) for rule in ordered if rule.says),
    )


def makes_masks(layer: Layer) -> bool:
    """Whether a layer says which steps of a sequence are none."""
    return layer.class_name == "Masking" or bool(layer.config.get("mask_zero"))


def every_rule() -> tuple[Rule, ...]:
    """The rules for single layers, and those for models and their inputs."""
    return (*RULES, BRANCHES, ORDER_OF_AXES, FROM_BUILD, ANY_BATCH)


def applies(rule: Rule, layer: Layer, facts: Facts) -> bool:
    """Whether the rule changed the layer; the owner's own layers are as their code wants them."""
    if layer.class_name in facts.defines and not rule.custom:
        return False
    return rule.apply(layer, facts)


def facts_of(
    config: Any,
    keras_version: str | None,
    *,
    theano: bool = False,
    defines: frozenset[str] = frozenset(),
) -> Facts:
    """What the rules ask of a file as a whole."""
    version = tuple(int(one[:6]) for one in re.findall(r"\d+", keras_version or "")[:2])
    return Facts(
        generation(config, keras_version),
        theano=theano,
        defines=defines,
        version=version,
        standalone=version < (2, 4) and not (keras_version or "").endswith("-tf"),
    )


def generation(config: Any, keras_version: str | None) -> int:
    """Which Keras wrote an architecture: 1, 2 or 3."""
    if keras_version and keras_version[:1].isdecimal():
        return max(1, min(3, int(keras_version[:1])))
    if has_argument(config, KERAS1_ARGUMENTS):
        return 1
    return 3 if has_argument(config, KERAS3_ARGUMENTS) else 2


def has_argument(node: Any, names: set[str]) -> bool:
    """Whether one of the names is a key anywhere in a config."""
    waiting = [node]
    while waiting:
        one = waiting.pop()
        if isinstance(one, Mapping):
            if names & one.keys() and "class_name" not in one:
                return True
            waiting.extend(one.values())
        elif isinstance(one, list):
            waiting.extend(one)
    return False
