from django.apps import AppConfig


class DatasetsConfig(AppConfig):
    name = "apps.data.datasets"

    def ready(self) -> None:
        """Register what the apps below cannot import: what a dataset expects of a job's spec, the versions that the
        spec of a script, of a language model or of a training on images names, the columns of a table, how much data
        an input is, and what can be held and commented on."""
        from django.utils.translation import gettext_lazy

        from apps.data.datasets.audit_names import name_datasets, name_versions
        from apps.data.datasets.labels.restrictions import (
            build_hidden_holding,
            list_hidden_datasets,
            list_hidden_versions,
        )
        from apps.data.datasets.latest_tables import find_column_types
        from apps.data.datasets.models import DatasetVersion
        from apps.data.datasets.quality.required_expectations import merge_expectations
        from apps.data.datasets.versions.base_model import resolve_base_model
        from apps.data.datasets.versions.commenting import DATASET_VERSION_COMMENTS, OBJECT_TYPE, list_hidden_comments
        from apps.data.datasets.versions.data_facts import find_data_facts
        from apps.data.datasets.versions.image_data import resolve_images, resolve_test_images
        from apps.data.datasets.versions.script_data import resolve_script_data
        from apps.data.datasets.versions.table_parts import expand_version_digest
        from apps.platform.artifacts.restrictions import HIDDEN_HOLDINGS
        from apps.platform.audit.naming.object_names import OBJECT_NAMES
        from apps.platform.audit.restrictions import HIDDEN_OBJECTS
        from apps.platform.comments.objects import COMMENT_OBJECTS
        from apps.platform.holds.objects import HOLD_OBJECTS, HoldObject
        from apps.platform.jobs.scheduling.input_facts import INPUT_FACTS
        from apps.platform.jobs.submission import FOLDER_INPUTS, SPEC_COMPLETIONS, SPEC_INPUTS
        from apps.platform.jobs.table_columns import TABLE_COLUMNS
        from apps.platform.lineage.restrictions import HIDDEN_ENDS

        OBJECT_NAMES.register("dataset", name_datasets)
        OBJECT_NAMES.register("datasetversion", name_versions)
        HIDDEN_HOLDINGS.register("datasets", build_hidden_holding)
        HIDDEN_ENDS.register("dataset_version", list_hidden_versions)
        HIDDEN_OBJECTS.register("dataset", list_hidden_datasets)
        HIDDEN_OBJECTS.register("datasetversion", list_hidden_versions)
        HIDDEN_OBJECTS.register("comment", list_hidden_comments)
        COMMENT_OBJECTS.register(OBJECT_TYPE, DATASET_VERSION_COMMENTS)
        TABLE_COLUMNS.register("datasets", find_column_types)
        INPUT_FACTS.register("datasets", find_data_facts)
        FOLDER_INPUTS.register("datasets", expand_version_digest)
        SPEC_INPUTS.register("script", resolve_script_data)
        SPEC_INPUTS.register("train_image", resolve_images)
        SPEC_INPUTS.register("evaluate", resolve_test_images)
        for kind in ("train_language", "merge_adapter"):
            SPEC_INPUTS.register(kind, resolve_base_model)
        SPEC_COMPLETIONS.register("dataset", merge_expectations)
        HOLD_OBJECTS.register(
            "datasetversion",
            HoldObject(
                model=DatasetVersion,
                project_path="dataset__project",
                label=gettext_lazy("Dataset version"),
                view_permission="dataset.view",
                page=("lineage:end", "dataset_version"),
            ),
        )
