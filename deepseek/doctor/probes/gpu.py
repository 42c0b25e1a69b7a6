"""Measurements of GPUs. They need NVIDIA's libraries, and most of them torch built for CUDA."""

from __future__ import annotations

import ctypes
import os
import re
import time
from pathlib import Path
from typing import Any

COPY_BYTES = 256 << 20
PATTERNS = (0x00, 0xFF, 0x55, 0xAA)
CHUNK_BYTES = 256 << 20


def open_device_nodes(*paths: str) -> dict[str, Any]:
    """Why each node cannot be opened for reading and writing; "" where it can."""
    problems = {}
    for path in paths:
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CLOEXEC))
            problems[path] = ""
        except OSError as error:
            problems[path] = str(error.strerror)
    return {"nodes": problems}


def read_nvml_version() -> dict[str, Any]:
    try:
        nvml = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError as error:
        return {"version": f"missing ({error})"}
    status = nvml.nvmlInit_v2()
    if status:
        return {"version": f"failing with error {status}"}
    text = ctypes.create_string_buffer(80)
    nvml.nvmlSystemGetDriverVersion(text, ctypes.c_uint(80))
    nvml.nvmlShutdown()
    return {"version": text.value.decode()}


def load_libcuda() -> dict[str, Any]:
    """Where libcuda was loaded from, its version by the name of its file, and what cuInit says."""
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        return {"path": f"missing ({error})", "library_version": "", "status": -1, "devices": 0}
    lines = Path("/proc/self/maps").read_text().splitlines()
    path = next((line.split()[-1] for line in lines if "libcuda.so" in line), "")
    match = re.fullmatch(r"libcuda\.so\.(\d[\d.]*)", os.path.basename(os.path.realpath(path)))
    status, count = int(cuda.cuInit(0)), ctypes.c_int()
    if not status:
        cuda.cuDeviceGetCount(ctypes.byref(count))
    return {"path": path, "library_version": match[1] if match else "", "status": status, "devices": count.value}


def _require_cuda() -> Any:
    import torch

    if not torch.cuda.is_available():
        return None
    return torch


NO_CUDA = {"unmeasured": "torch cannot use the GPU: look at gpu.cuda_min and py.torch_cuda."}


def compare_with_cpu() -> dict[str, Any]:
    """The largest difference of a float32 product between each GPU and the CPU, relative to its largest value."""
    torch = _require_cuda()
    if torch is None:
        return NO_CUDA
    torch.backends.cuda.matmul.allow_tf32 = False
    generator = torch.Generator().manual_seed(7)
    left, right = (torch.randn(512, 512, generator=generator) for _ in range(2))
    expected = left.double() @ right.double()
    errors = []
    for index in range(torch.cuda.device_count()):
        device = f"cuda:{index}"
        product = (left.to(device) @ right.to(device)).cpu().double()
        errors.append(((product - expected).abs().max() / expected.abs().max()).item())
    return {"errors": errors}


def measure_transfers() -> dict[str, Any]:
    """Bytes per second of pinned copies to and from each GPU, the best of five."""
    torch = _require_cuda()
    if torch is None:
        return NO_CUDA
    host, rows = torch.empty(COPY_BYTES, dtype=torch.uint8, pin_memory=True), []
    for index in range(torch.cuda.device_count()):
        with torch.cuda.device(index):
            card = torch.empty(COPY_BYTES, dtype=torch.uint8, device="cuda")
            best = {"to_gpu": 0.0, "from_gpu": 0.0}
            for name, target, source in (("to_gpu", card, host), ("from_gpu", host, card)):
                for _ in range(5):
                    torch.cuda.synchronize()
                    start = time.perf_counter()
                    target.copy_(source, non_blocking=True)
                    torch.cuda.synchronize()
                    best[name] = max(best[name], COPY_BYTES / (time.perf_counter() - start))
        rows.append({"index": index, **best})
    return {"gpus": rows}


def test_memory(percent: str) -> dict[str, Any]:
    """Write patterns over a share of each GPU's free memory and count the bytes that come back changed."""
    torch = _require_cuda()
    if torch is None:
        return NO_CUDA
    rows = []
    for index in range(torch.cuda.device_count()):
        with torch.cuda.device(index):
            free, _ = torch.cuda.mem_get_info()
            count, wrong = int(free * float(percent) / 100) // CHUNK_BYTES, 0
            chunks = [torch.empty(CHUNK_BYTES, dtype=torch.uint8, device="cuda") for _ in range(count)]
            for pattern in PATTERNS:
                for chunk in chunks:
                    chunk.fill_(pattern)
                wrong += sum(int((chunk != pattern).sum().item()) for chunk in chunks)
            rows.append({"index": index, "bytes": count * CHUNK_BYTES, "wrong": wrong})
            del chunks
            torch.cuda.empty_cache()
    return {"gpus": rows}


def measure_all_reduce(count: str) -> dict[str, Any]:
    """An all-reduce of 256 MiB over the GPUs of this machine by NCCL, from one process."""
    torch = _require_cuda()
    if torch is None:
        return NO_CUDA
    if not torch.cuda.nccl.is_available([torch.empty(1, device="cuda:0")]):
        return {"unmeasured": "torch is built without NCCL."}
    gpus, words = range(int(count)), COPY_BYTES // 4
    tensors = [torch.full((words,), float(index + 1), device=f"cuda:{index}") for index in gpus]
    outputs = [torch.empty(words, device=f"cuda:{index}") for index in gpus]
    torch.cuda.nccl.all_reduce(tensors, outputs)
    for index in gpus:
        torch.cuda.synchronize(index)
    start = time.perf_counter()
    torch.cuda.nccl.all_reduce(tensors, outputs)
    for index in gpus:
        torch.cuda.synchronize(index)
    seconds, total = time.perf_counter() - start, float(sum(range(1, int(count) + 1)))
    right = all(bool((output == total).all().item()) for output in outputs)
    return {"right": right, "bytes_per_second": COPY_BYTES / seconds}


PROBES = {
    "device_nodes": open_device_nodes,
    "nvml": read_nvml_version,
    "libcuda": load_libcuda,
    "gpu_compute": compare_with_cpu,
    "pcie_bandwidth": measure_transfers,
    "gpu_memtest": test_memory,
    "nccl": measure_all_reduce,
}
