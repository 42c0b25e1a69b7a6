from django.apps import AppConfig


class DatasetsConfig(AppConfig):
    name = "apps.data.datasets"

    def ready(self) -> None:
        """Jobs know nothing of datasets: what a dataset expects goes into a job's spec through this table."""
        from apps.data.datasets.quality.required_expectations import merge_expectations
        from apps.platform.jobs.submission import COMPLETED

        COMPLETED["dataset"] = merge_expectations
