from django.apps import AppConfig


class OpenLineageConfig(AppConfig):
    name = "apps.gateways.openlineage"
