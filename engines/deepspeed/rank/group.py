"""The ranks' process group: they meet at an address that the first one found free, and tells the others through their ranks."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta

import torch
import torch.distributed as dist
from torch.distributed import TCPStore  # type: ignore[attr-defined]

from wire import Wire

# for as long a rank may read the model while others have read it
LOADING = timedelta(hours=2)


def join(wire: Wire, address: str, interface: str, rank: int, ranks: int, seconds: int) -> Callable[[], None]:
    """Meets the others; collectives fail after so many seconds without one of them. Returns what waits for all, however long they load."""
    timeout = timedelta(seconds=seconds)
    if rank == 0:
        # on a port that is free
        store = TCPStore(address, 0, ranks, is_master=True, timeout=timeout, wait_for_workers=False)
        wire.say("meet", word={"host": address, "port": store.port})
    else:
        place = wire.hear("meet")["word"]
        store = TCPStore(place["host"], place["port"], ranks, is_master=False, timeout=timeout, wait_for_workers=False)
    # otherwise gloo looks its own host's name up, which need not be known, or is known as the loopback address
    os.environ["GLOO_SOCKET_IFNAME"] = interface
    os.environ.setdefault("NCCL_SOCKET_IFNAME", interface)
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=ranks, timeout=timeout)

    def meet() -> None:
        store.set(f"loaded {rank}", "")
        store.wait([f"loaded {peer}" for peer in range(ranks)], LOADING)

    return meet


def is_lost_peer(error: BaseException) -> bool:
    """Whether an error only says that another rank is gone or does not answer."""
    text = str(error).lower()
    # NCCL's words for mistakes of the set-up, as two ranks on one GPU
    if "invalid usage" in text or "duplicate gpu" in text:
        return False
    return isinstance(error, dist.DistError) or any(word in text for word in ("gloo", "nccl", "connection closed by peer", "timed out"))
