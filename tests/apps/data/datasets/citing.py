"""An app above datasets that cites every version, as settings.VERSION_CITATIONS names one."""

from apps.data.datasets.versions.citations import Citation


def cites(version):
    return [Citation("commit", "abc")]
