"""What NVIDIA's driver tells of its GPUs: the XML of ``nvidia-smi -q -x``, and what is on the PCI bus without it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

from deepseek.doctor.findings import NotApplicable, Unmeasured
from deepseek.doctor.host import HEAVY_SECONDS, Host

PCI = "/sys/bus/pci/devices"
NVIDIA, DISPLAY_CLASSES = "0x10de", ("0x0300", "0x0302")
MODULE_VERSION = "/sys/module/nvidia/version"


@dataclass(frozen=True)
class Gpu:
    """One card; `element` is its part of the document."""

    index: int
    element: ElementTree.Element

    def text(self, path: str) -> str:
        """The text at `path`; "" where the driver does not tell it."""
        text = (self.element.findtext(path) or "").strip()
        return "" if text in ("N/A", "[N/A]", "Unknown Error", "Requested functionality has been deprecated") else text

    def number(self, path: str) -> float | None:
        """The figure at `path` without its unit."""
        match = re.match(r"-?\d+(?:\.\d+)?", self.text(path))
        return float(match[0]) if match else None

    @property
    def name(self) -> str:
        return f"GPU {self.index}"


def list_pci_gpus(host: Host) -> list[str]:
    """PCI addresses of NVIDIA's GPUs, whether or not a driver serves them."""
    return [
        name
        for name in host.list_names(PCI)
        if host.read(f"{PCI}/{name}/vendor") == NVIDIA
        and (host.read(f"{PCI}/{name}/class") or "").startswith(DISPLAY_CLASSES)
    ]


def require_gpu(host: Host) -> list[str]:
    """The PCI addresses. Raises NotApplicable where there is no GPU and none is registered."""
    addresses = list_pci_gpus(host)
    if not addresses and not host.registered.get("gpus"):
        raise NotApplicable("There is no NVIDIA GPU on the PCI bus.")
    return addresses


def read_gpus(host: Host) -> list[Gpu]:
    """The cards as the driver lists them. Raises NotApplicable without a GPU, Unmeasured where nvidia-smi fails."""
    require_gpu(host)
    output = host.run("nvidia-smi", "-q", "-x", seconds=12)
    if output.is_missing or output.code:
        raise Unmeasured(f"nvidia-smi does not answer ({output.describe_failure()}): look at gpu.driver first.")
    if "<!ENTITY" in output.stdout:
        raise Unmeasured("nvidia-smi gave a document with entities, which is not read.")
    try:
        document = ElementTree.fromstring(output.stdout)  # noqa: S314  no entities, of a program of root's
    except ElementTree.ParseError as error:
        raise Unmeasured(f"nvidia-smi gave no XML: {error}.") from None
    gpus = [Gpu(index, element) for index, element in enumerate(document.findall("gpu"))]
    if not gpus:
        raise Unmeasured("nvidia-smi lists no GPU: look at gpu.count.")
    return gpus


def read_gpu_document(host: Host) -> ElementTree.Element:
    """The whole document, for what belongs to no card: driver_version, cuda_version."""
    read_gpus(host)
    return ElementTree.fromstring(host.run("nvidia-smi", "-q", "-x", seconds=12).stdout)  # noqa: S314  as above


def require_several(host: Host) -> list[Gpu]:
    gpus = read_gpus(host)
    if len(gpus) < 2:
        raise NotApplicable("There is one GPU: it has no peer.")
    return gpus


def probe_torch(host: Host) -> dict[str, Any]:
    """What torch is built for, what it sees, and whether its gradients are right."""
    return host.probe("torch", seconds=HEAVY_SECONDS)
