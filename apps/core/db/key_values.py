"""Tags and parameters: keys with a text as value, of which an object has each key once."""

from __future__ import annotations

from typing import Any

from django.db import models


class KeyValueManager(models.Manager[Any]):
    """As the related manager of an object: `version.tags.set_value("owner", "ann")`."""

    def set_value(self, key: str, value: str) -> None:
        self.update_or_create(key=key, defaults={"value": value})

    def delete_key(self, key: str) -> bool:
        """False if there was none."""
        return bool(self.filter(key=key).delete()[0])


class KeyValue(models.Model):
    key = models.CharField(max_length=250)
    value = models.TextField(blank=True)

    objects = KeyValueManager()

    class Meta:
        abstract = True
