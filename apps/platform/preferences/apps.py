from django.apps import AppConfig


class PreferencesConfig(AppConfig):
    name = "apps.platform.preferences"
