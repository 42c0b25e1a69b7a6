"""The list of packages: its columns, and what narrows it."""

from __future__ import annotations

from django.http import QueryDict
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext_lazy

from apps.core.actors import Actor
from apps.core.lists.listing import Column, Listing, ListTable, build_builtin_view, build_table, read_filter_values
from apps.site.mirror import queries
from apps.site.mirror.images.queries import list_tags

PACKAGES = Listing(
    "packages",
    (
        Column("name", gettext_lazy("Package"), lambda package: package.name, ("name",)),
        Column("version", pgettext_lazy("of a package", "Newest version"), lambda package: package.latest_version),
        Column("versions", gettext_lazy("Versions"), lambda package: package.version_count, numeric=True),
        Column(
            "advisories",
            gettext_lazy("Advisories"),
            lambda package: package.advisory_count,
            ("advisory_count", "id"),
            numeric=True,
            down=True,
        ),
        Column("owner", gettext_lazy("Owner"), lambda package: package.project.slug if package.project else "plane"),
        Column("summary", gettext_lazy("Summary"), lambda package: package.summary),
        Column("changed", gettext_lazy("Changed"), lambda package: package.changed_at, ("changed_at", "id"), down=True),
        Column("by", gettext_lazy("By"), lambda package: package.created_by, default_visible=False),
    ),
    sort="name",
)


def build_packages_table(actor: Actor, params: QueryDict) -> ListTable:
    """One page of the packages that the query asks for."""
    filters = read_filter_values(params, queries.FILTERS)
    return build_table(
        PACKAGES,
        params,
        lambda: queries.list_packages(actor, **filters),
        filters=[
            {"name": "q", "label": _("Name or summary"), "value": filters["q"]},
            {
                "name": "advisories",
                "label": _("Advisories"),
                "value": filters["advisories"],
                "choices": [("", _("With or without")), ("any", _("With advisories")), ("none", _("Without"))],
            },
            {
                "name": "owner",
                "label": _("Owner"),
                "value": filters["owner"],
                "choices": [("", _("Every owner")), ("plane", _("The plane")), ("projects", _("Projects"))],
            },
        ],
        builtin=[
            build_builtin_view(_("Most advisories"), advisories="any", sort="-advisories"),
            build_builtin_view(_("Changed last"), sort="-changed"),
        ],
    )


IMAGES = Listing(
    "images",
    (
        Column("name", gettext_lazy("Image"), str, ("repository", "tag")),
        Column("digest", gettext_lazy("Digest"), lambda tag: f"sha256:{tag.image.manifest_digest}"),
        Column("architecture", gettext_lazy("Architecture"), lambda tag: tag.image.architecture),
        Column("size", gettext_lazy("Size"), lambda tag: tag.image.size, numeric=True),
        Column("source", gettext_lazy("Source file"), lambda tag: tag.image.source_name, default_visible=False),
        Column("tagged", gettext_lazy("Imported"), lambda tag: tag.tagged_at, ("tagged_at", "id"), down=True),
        Column("by", gettext_lazy("By"), lambda tag: tag.tagged_by),
    ),
    sort="name",
)


def build_images_table(actor: Actor, params: QueryDict) -> ListTable:
    """One page of the images that the query asks for."""
    filters = read_filter_values(params, ("q",))
    return build_table(
        IMAGES,
        params,
        lambda: list_tags(actor, **filters),
        filters=[{"name": "q", "label": _("Repository"), "value": filters["q"]}],
    )
