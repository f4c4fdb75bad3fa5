"""What one user's SQL may name."""

from __future__ import annotations

from kerasql.registry.access import Access, User
from kerasql.registry.names import function_names
from kerasql.registry.store import Registry
from kerasql.udf.fence.check import Fence


def fence_of(registry: Registry, access: Access, user: User) -> Fence:
    """The functions of the models that a user may execute now, and the datasets they may select."""
    models = access.executable(user)
    functions = {
        function
        for name, aliases, versions in registry.catalog()
        if name in models
        for function in function_names(name, aliases, versions)
    }
    return Fence(functions=frozenset(functions), relations=access.readable(user))
