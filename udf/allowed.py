"""What one user's SQL may name."""

from __future__ import annotations

from kerasql.registry.access import Access, User
from kerasql.registry.store import Registry
from kerasql.udf.fence.check import Fence


def fence_of(registry: Registry, access: Access, user: User) -> Fence:
    """The functions of the models that a user may execute now, and the datasets they may select."""
    every, models = registry.functions(), access.executable(user)
    functions = frozenset(name for model in models for name in every.get(model, ()))
    return Fence(functions=functions, relations=access.readable(user))
