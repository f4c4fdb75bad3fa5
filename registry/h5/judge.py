"""What registering would make of an inspected file: refuse it, or rewrite it for Keras 3."""

from __future__ import annotations

from kerasql.registry.errors import InvalidFile, NotUnderstood
from kerasql.registry.h5.audit import audit
from kerasql.registry.h5.inspection import Inspection, require_model
from kerasql.registry.h5.shown import shown
from kerasql.registry.h5.upgrade import facts_of, generation, upgrade

LONGEST_PROBLEM = 1000


def judged(
    inspection: Inspection, name: str, defines: frozenset[str] = frozenset()
) -> tuple[str | None, list[str]]:
    """(why it cannot be registered or None, what will be rewritten)."""
    try:
        require_model(inspection, name)
        audit(name, inspection.config, defines=defines)
        return None, rewrites(inspection, defines)
    except InvalidFile as error:
        return shown(error.args[1], LONGEST_PROBLEM), []
    except NotUnderstood as error:
        return shown(error, LONGEST_PROBLEM), []


def rewrites(inspection: Inspection, defines: frozenset[str] = frozenset()) -> list[str]:
    """A sentence for each rule that applies to the architecture."""
    config, version = inspection.config, inspection.keras_version
    if config is None or generation(config, version) > 2:
        return []
    theano = inspection.backend == "theano"
    facts = facts_of(config, version, theano=theano, defines=defines)
    return [one.rule for one in upgrade(config, facts).applied]
