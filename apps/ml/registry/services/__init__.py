"""Every write of the registry: make a model, register a version, move an alias. A version is never changed."""

from apps.ml.registry.services.aliases import promote, remove_alias, request_promotion, roll_back, set_alias
from apps.ml.registry.services.blocks import block_versions, lift_block
from apps.ml.registry.services.clients import (
    delete_version,
    describe_version,
    record_version,
    set_stage,
)
from apps.ml.registry.services.models import (
    create_client_model,
    create_model,
    delete_model,
    describe_model,
    ensure_model,
    rename_model,
)
from apps.ml.registry.services.tags import tag_model, tag_version, untag_model, untag_version
from apps.ml.registry.services.versions import register_version

__all__ = [
    "block_versions",
    "create_client_model",
    "create_model",
    "delete_model",
    "delete_version",
    "describe_model",
    "describe_version",
    "ensure_model",
    "lift_block",
    "promote",
    "record_version",
    "register_version",
    "remove_alias",
    "rename_model",
    "request_promotion",
    "roll_back",
    "set_alias",
    "set_stage",
    "tag_model",
    "tag_version",
    "untag_model",
    "untag_version",
]
