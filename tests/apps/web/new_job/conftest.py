"""Tables as the datasets' own tests store them, the engine that looks at them, and pages of pipelines."""

from tests.apps.data.datasets.conftest import engine_child, held, inline_engine  # noqa: F401
from tests.apps.ml.pipelines.conftest import job, page  # noqa: F401
