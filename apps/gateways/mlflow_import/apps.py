from django.apps import AppConfig


class MlflowImportConfig(AppConfig):
    name = "apps.gateways.mlflow_import"
