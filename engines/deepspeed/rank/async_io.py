"""DeepSpeed's operator async_io, which reads and writes NVMe: it is compiled where it is used first."""

from __future__ import annotations

import fcntl
import os
import sys
from pathlib import Path

import torch


class Refused(Exception):
    """This machine lacks what the run is to be computed with."""


def load() -> None:
    """Compiles the operator, or finds it compiled. Throws Refused with what to install."""
    directory = Path(os.environ.setdefault("TORCH_EXTENSIONS_DIR", str(Path(sys.prefix) / "torch_extensions")))
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "roslin.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        # torch waits for ever on the lock of a process that was killed while it compiled; no other one compiles now
        for stale in directory.glob("*/lock"):
            stale.unlink()
        from deepspeed.ops.op_builder import AsyncIOBuilder

        try:
            AsyncIOBuilder().load(verbose=False)
        except Exception as error:
            more = " and the CUDA toolkit, with CUDA_HOME set" if torch.cuda.is_available() else ""
            raise Refused(
                "train.offload to nvme needs DeepSpeed's operator async_io, which cannot be compiled here: install g++, ninja "
                f"and libaio's headers (on Debian g++, ninja-build, libaio-dev){more}; or offload to cpu "
                f"[{type(error).__name__}: {(str(error).splitlines() or ['no message'])[0]}]"
            ) from error
