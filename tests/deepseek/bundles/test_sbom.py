"""The CycloneDX document of a bundle: what version 1.5 of the specification requires, field by field."""

import json
import re

from deepseek.bundles.sbom import encode_sbom
from deepseek.bundles.spec import CONTENT_KINDS, Content

# https://cyclonedx.org/docs/1.5/json: the required members, and the values that they may have.
SERIAL = re.compile(r"urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
TYPES = {"application", "framework", "library", "container", "platform", "operating-system", "device", "device-driver"}
TYPES |= {"firmware", "file", "machine-learning-model", "data"}
SHA256 = re.compile(r"[0-9a-fA-F]{64}")
PURL = re.compile(r"pkg:[a-z][a-z0-9.+-]*/[A-Za-z0-9.~_%-]+@[A-Za-z0-9.~_%-]+")
CONTENTS = [
    Content("package", "My_Tool-2.1.0+cu12-py3-none-any.whl", "1" * 64),
    Content("package", "my-tool-2.2.tar.gz", "2" * 64),
    Content("image", "demo/App:v1", "3" * 64),
    Content("model_version", "wti-forecast v3", "4" * 64),
    Content("dataset_version", "wti v7", "5" * 64),
    Content("dataset_version", "wti v7", "5" * 64),
    Content("run", "first 0a0a0a0a", "6" * 64),
    Content("advisories", "osv.json", "7" * 64),
    Content("conflicts", "2026-11", "8" * 64),
]


def list_faults(component):
    """What the specification requires of a component, and this one lacks."""
    hashes = component.get("hashes", [])
    checks = {
        "type": component.get("type") in TYPES,
        "name": isinstance(component.get("name"), str) and component["name"] != "",
        "version": component.get("version", "x") != "",
        "hashes": all(each["alg"] == "SHA-256" and SHA256.fullmatch(each["content"]) for each in hashes),
        "purl": "purl" not in component or PURL.fullmatch(component["purl"]) is not None,
        "unknown": set(component) <= {"type", "bom-ref", "name", "version", "hashes", "purl"},
    }
    return [field for field, is_right in checks.items() if not is_right]


def test_the_document_has_what_cyclonedx_requires():
    document = json.loads(encode_sbom("ab" * 16, "2026-11-30T09:00:00Z", "plane", CONTENTS))
    assert (document["bomFormat"], document["specVersion"], document["version"]) == ("CycloneDX", "1.5", 1)
    assert SERIAL.fullmatch(document["serialNumber"])
    assert set(document) <= {"bomFormat", "specVersion", "serialNumber", "version", "metadata", "components"}
    assert document["metadata"]["timestamp"] == "2026-11-30T09:00:00Z"
    every = [document["metadata"]["component"], *document["components"]]
    assert [(each["name"], list_faults(each)) for each in every if list_faults(each)] == []
    references = [each["bom-ref"] for each in every]
    assert len(set(references)) == len(references) == len(CONTENTS)  # one was named twice
    assert {content.kind for content in CONTENTS} == set(CONTENT_KINDS)


def test_packages_and_images_are_named_as_their_indexes_name_them():
    document = json.loads(encode_sbom("ab" * 16, "2026-11-30T09:00:00Z", "plane", CONTENTS[:3]))
    assert [(each["name"], each["version"], each["purl"]) for each in document["components"]] == [
        ("My_Tool", "2.1.0+cu12", "pkg:pypi/my-tool@2.1.0%2Bcu12"),
        ("my-tool", "2.2", "pkg:pypi/my-tool@2.2"),
        ("demo/App", "v1", f"pkg:oci/app@sha256%3A{'3' * 64}"),
    ]
