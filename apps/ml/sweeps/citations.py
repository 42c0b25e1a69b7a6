"""What a sweep that runs needs of the data: until its trials exist, only the text of its document names their inputs.

Once a trial has a job, the job's inputs hold the bytes as those of any job do.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from typing import Any

from apps.data.datasets.models import DatasetVersion
from apps.data.datasets.versions.citations import MAX_CITATIONS_PER_KIND, Citation
from apps.ml.sweeps.models import Sweep
from apps.ml.sweeps.states import SweepState


def find_cited_artifacts(digests: Collection[str]) -> set[str]:
    """Those of `digests` that the job of a running sweep takes. Registered in ARTIFACT_CITATIONS."""
    documents = Sweep.objects.filter(state=SweepState.RUNNING).values_list("document", flat=True)
    return {digest for text in documents.iterator() for digest in list_input_digests(json.loads(text))} & set(digests)


def list_input_digests(document: dict[str, Any]) -> list[str]:
    """The artifacts among the inputs of a sweep's job; what another job makes is held by that job."""
    return [digest for _slot, digest, _job, _job_slot in document["job"]["inputs"] if digest]


def find_version_citations(version: DatasetVersion) -> Iterator[Citation]:
    """The running sweeps of the project that name the version or take one of its files. Registered in
    VERSION_CITATIONS."""
    references = {f"{version.dataset.name}:{mark}{version.number}" for mark in ("v", "")}
    files: set[str] | None = None
    count = 0
    for sweep in Sweep.objects.filter(state=SweepState.RUNNING, project=version.project_id).order_by("pk"):
        document = json.loads(sweep.document)
        if files is None:
            files = set(version.files.values_list("artifact", flat=True))
        is_named = not references.isdisjoint(iter_texts([document["job"]["spec"], document["settings"]["space"]]))
        if is_named or not files.isdisjoint(list_input_digests(document)):
            yield Citation("sweep", str(sweep))
            count += 1
        if count == MAX_CITATIONS_PER_KIND:
            return


def iter_texts(value: Any) -> Iterator[str]:
    """Every text in a JSON value: a spec may name a version in any field, and a parameter may choose among versions."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for child in value.values() if isinstance(value, dict) else value:
            yield from iter_texts(child)
