"""The HTTP API under ``/api/v1``: a module for each thing it is about."""

from kerasql.web.api.datasets import datasets
from kerasql.web.api.models import models
from kerasql.web.api.people import people
from kerasql.web.api.problem import Problem
from kerasql.web.api.queries import queries
from kerasql.web.api.registering import registering
from kerasql.web.api.uploads import uploads

APIS = (queries, models, registering, uploads, datasets, people)

__all__ = ["APIS", "Problem"]
