"""The machine: device, memory, dtype, threads. torch is imported inside the functions that need it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import __version__
from .errors import BeftError, UnknownName

if TYPE_CHECKING:
    import torch


def device() -> torch.device:
    """CUDA, Apple's MPS or the CPU, the first that is there; ``BEFT_DEVICE`` overrides."""
    import torch

    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    named = os.environ.get("BEFT_DEVICE", "")
    if not named:
        return torch.device(next(kind for kind, available in there.items() if available))
    if named.split(":")[0] not in there:
        raise UnknownName("device", named, there, "It came from the environment variable BEFT_DEVICE.")
    if not there[named.split(":")[0]]:
        raise BeftError(f"BEFT_DEVICE={named}, but torch {torch.__version__} sees no such device. Unset it.")
    return torch.device(named)


def base_dtype() -> tuple[torch.dtype, str]:
    """What ``load_model`` loads a frozen language model in, and why, for people. What is trained is in float32.

    float16 has a small range: gradients are lost below it unless losses are scaled, which ``training`` then does.
    """
    import torch

    where = device().type
    if where == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.bfloat16, "the GPU computes in bfloat16: half the memory of float32, and its range"
    if where == "cuda":
        return torch.float16, "this GPU has no bfloat16; float16 halves the memory, and losses are scaled"
    if where == "mps":
        return torch.float32, "on Apple's GPU float32 is the dtype in which every operation is there"
    return torch.float32, "a CPU is fastest, and exact enough to compare, in float32"


def cuda_bytes() -> int:
    """Memory of the GPU in bytes; 0 without CUDA, without torch, or when ``BEFT_DEVICE`` says another device."""
    if os.environ.get("BEFT_DEVICE", "cuda").split(":")[0] != "cuda":
        return 0
    try:
        import torch
    except ImportError:
        return 0
    return torch.cuda.get_device_properties(0).total_memory if torch.cuda.is_available() else 0


def is_main_process() -> bool:
    """Whether this is the process that prints and writes: the first one that ``accelerate launch`` or torchrun began,
    or the only one.
    """
    return int(os.environ.get("RANK") or 0) == 0


def memory() -> dict[str, int | None]:
    """``ram_total``, ``ram_free``, ``gpu_total``, ``gpu_free`` in bytes; None where it cannot be told.

    A container's own limit counts (JupyterHub gives 2 GB of a machine that has 200).
    """
    total = free = gpu_total = gpu_free = None
    try:
        import psutil  # comes with accelerate, which transformers' Trainer needs anyway

        ram = psutil.virtual_memory()
        total, free = ram.total, ram.available
        limit, used = _limit()
        if limit is not None and limit < total:
            total, free = limit, min(free, max(0, limit - used))
    except ImportError:
        pass
    if cuda_bytes():
        import torch

        gpu_free, gpu_total = torch.cuda.mem_get_info()
    return {"ram_total": total, "ram_free": free, "gpu_total": gpu_total, "gpu_free": gpu_free}


def threads() -> int:
    """How many cores we may really use: given 2 of a machine's 64, a container's torch would start 64 threads."""
    counted = getattr(os, "sched_getaffinity", None)
    cores = len(counted(0)) if counted else os.cpu_count() or 1
    quota = _read("/sys/fs/cgroup/cpu.max").split()  # "200000 100000": microseconds of work a period
    if len(quota) == 2 and quota[0].isdigit():
        cores = min(cores, max(1, round(int(quota[0]) / int(quota[1]))))
    return cores


def machine() -> dict[str, Any]:
    """What a result depends on, for the files that hold results. Names no host and no user."""
    found = {"python": platform.python_version()}
    for package in ("torch", "transformers"):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    return {
        **found,
        "beft_lib": __version__,
        "platform": f"{platform.system()} {platform.machine()}",
        "cpu_count": threads(),
        "device": device_name(),
    }


def device_name() -> str:
    """The GPU's or the processor's name."""
    where = device()
    if where.type == "cuda":
        import torch

        return torch.cuda.get_device_name(where)
    found = re.search(r"^model name\s*: (.+)$", _read("/proc/cpuinfo"), re.MULTILINE)
    name = found.group(1).strip() if found else platform.processor() or platform.machine()
    return f"{where.type} ({name})"


def loaded_against_installed() -> list[tuple[str, str, str]]:
    """(package, installed, loaded) where the versions differ: an install after the import needs a new kernel."""
    found = []
    for package in ("beft-lib", "torch", "transformers", "datasets", "numpy", "accelerate", "peft"):
        module = sys.modules.get(package.replace("-", "_"))
        used = getattr(module, "__version__", None)
        if used is None:
            continue
        try:
            there = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
        if there.split("+")[0] != str(used).split("+")[0]:  # torch 2.13.0 and 2.13.0+cpu are the same
            found.append((package, there, str(used)))
    return found


def _limit() -> tuple[int | None, int]:
    """(memory limit of our container or None, bytes in use there). JupyterHub says the limit in MEM_LIMIT, too."""
    limit = _read("/sys/fs/cgroup/memory.max").strip() or os.environ.get("MEM_LIMIT", "")
    used = _read("/sys/fs/cgroup/memory.current").strip()
    return (int(limit) if limit.isdigit() else None), (int(used) if used.isdigit() else 0)


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
