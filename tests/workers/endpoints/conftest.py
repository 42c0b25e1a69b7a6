"""Endpoints as the tests of their app make them."""

from tests.apps.ml.endpoints.conftest import (  # noqa: F401  fixtures
    _own_store,
    add_node,
    approved,
    create,
    default_experiment,
    forms,
    node,
    registered,
    store_files,
    version,
)
