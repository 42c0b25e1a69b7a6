"""Which marked columns a version has."""

from apps.data.datasets.models import DatasetVersion
from apps.data.personal_data.queries import select_present_columns


def test_of_a_version_without_measured_columns_every_mark_counts():
    measured = DatasetVersion(columns=[{"name": "phone", "dtype": "string"}, {"name": "n", "dtype": "int64"}])
    assert select_present_columns(measured, {"phone", "email"}) == {"phone"}
    assert select_present_columns(DatasetVersion(columns=[]), {"phone", "email"}) == {"phone", "email"}
