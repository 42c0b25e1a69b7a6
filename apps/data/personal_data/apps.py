from django.apps import AppConfig


class PersonalDataConfig(AppConfig):
    name = "apps.data.personal_data"

    def ready(self) -> None:
        """Register what is checked before a download, and which columns previews hide."""
        from apps.data.datasets.versions.masked_columns import MASKED_COLUMNS
        from apps.data.personal_data.queries import find_personal_columns
        from apps.data.personal_data.use import check_personal_use
        from apps.platform.artifacts.downloads import DOWNLOAD_CHECKS

        DOWNLOAD_CHECKS.register("personal_data", check_personal_use)
        MASKED_COLUMNS.register("personal_data", find_personal_columns)
