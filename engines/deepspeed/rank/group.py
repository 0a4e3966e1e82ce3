"""The ranks' process group: they meet at an address that the first one found free and wrote into a file."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch.distributed import TCPStore  # type: ignore[attr-defined]

HOST = "127.0.0.1"
# for as long a rank may read the model while others have read it
LOADING = timedelta(hours=2)


def join(address: str, rank: int, ranks: int, seconds: int) -> Callable[[], None]:
    """Meets the others; collectives fail after so many seconds without one of them. Returns what waits for all, however long they load."""
    timeout = timedelta(seconds=seconds)
    path = Path(address)
    if rank == 0:
        store = TCPStore(HOST, 0, ranks, is_master=True, timeout=timeout, wait_for_workers=False)
        beside = path.with_name(f"{path.name}.new")
        beside.write_text(str(store.port), encoding="utf-8")
        os.replace(beside, path)
    else:
        store = TCPStore(HOST, _port(path, seconds), ranks, is_master=False, timeout=timeout, wait_for_workers=False)
    # all ranks are on this host; its name need not be known to it
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo" if sys.platform == "linux" else "lo0")
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=ranks, timeout=timeout)

    def meet() -> None:
        store.set(f"loaded {rank}", "")
        store.wait([f"loaded {peer}" for peer in range(ranks)], LOADING)

    return meet


def _port(path: Path, seconds: int) -> int:
    deadline = time.monotonic() + seconds
    while not path.exists():
        if time.monotonic() > deadline:
            raise dist.DistNetworkError(f"the first rank wrote no address within {seconds} s")
        time.sleep(0.02)
    return int(path.read_text(encoding="utf-8"))


def is_lost_peer(error: BaseException) -> bool:
    """Whether an error only says that another rank is gone or does not answer."""
    text = str(error).lower()
    # NCCL's words for mistakes of the set-up, as two ranks on one GPU
    if "invalid usage" in text or "duplicate gpu" in text:
        return False
    return isinstance(error, dist.DistError) or any(word in text for word in ("gloo", "nccl", "connection closed by peer", "timed out"))
