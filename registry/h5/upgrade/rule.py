"""What a rule is: one thing that Keras changed, and how a layer is rewritten for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from kerasql.registry.h5.upgrade.graph import Layer


@dataclass(frozen=True)
class Facts:
    """Of the file as a whole: generation 1 or 2; whether Theano computed it; what its owner's

    code defines, by name; the version of Keras or tf.keras, empty where the file does not say;
    whether a layer of it masks steps; whether Keras stood alone (not tf.keras, whose versions end
    in ``-tf`` or begin at 2.4; all before 2.2.4-tf wrote plain numbers).
    """

    generation: int
    theano: bool = False
    defines: frozenset[str] = frozenset()
    version: tuple[int, ...] = ()
    masks: bool = False
    standalone: bool = False


@dataclass(frozen=True)
class Rule:
    """says: the report's words; source: which Keras changed it; apply: True where it did something.

    A rule that only tidies (an argument Keras 3 no longer has and that changes no number) says
    nothing: says is empty. custom: also for layers of the owner's own code.
    """

    says: str
    source: str
    apply: Callable[[Layer, Facts], bool]
    custom: bool = False

    @property
    def name(self) -> str:
        """The name of its function, under which its test finds it."""
        return self.apply.__name__


def rule(
    says: str, *, source: str, into: list[Rule], custom: bool = False
) -> Callable[[Callable[[Layer, Facts], bool]], Callable[[Layer, Facts], bool]]:
    """Add a function to a list of rules, in the order they are written."""

    def added(apply: Callable[[Layer, Facts], bool]) -> Callable[[Layer, Facts], bool]:
        into.append(Rule(says, source, apply, custom))
        return apply

    return added


def listed(says: str, *, source: str) -> Rule:
    """A rule for whole models, which is no function of one layer: only its words are kept here."""
    return Rule(says, source, lambda layer, facts: True)
