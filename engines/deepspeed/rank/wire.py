"""The lines between this process and the rank that started it.

Orders come as JSON lines on standard input; events go as JSON lines on what was standard output, and a checkpoint's numbers
as raw bytes on file 4. File 3 is the rank's whereabouts: what survives this process there says whose rows it was computing.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import queue
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

WHEREABOUTS = 3
NUMBERS = 4
# length of the field at the beginning of a whereabouts file, as SHARD_BYTES in engines/engine.ts
SHARD_BYTES = 4
# Linux: the signal that a process gets when its parent dies
PR_SET_PDEATHSIG = 1
# bytes that are sent at once
MOST_BYTES = 2**24
# seconds between two words that work goes on, and that the process lives
BEAT = 0.2
ALIVE = 1.0


class Wire:
    """Hears orders and says events; ends the process when the rank that started it is gone."""

    def __init__(self) -> None:
        _die_with_parent()
        # Ctrl-C reaches the whole group of processes; the rank decides what it means
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, signal.SIG_IGN)
        # libraries print to standard output
        self._events = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)
        self._orders: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._beat = 0.0
        self._speaking = threading.Lock()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        for line in sys.stdin.buffer:
            self._orders.put(json.loads(line))
        os._exit(0)

    def hear(self, kind: str) -> dict[str, Any]:
        """The next order, which must be of a kind."""
        order = self._orders.get()
        if order["kind"] != kind:
            raise RuntimeError(f"expected an order of kind {kind}, got {order['kind']}")
        return order

    def say(self, kind: str, **event: Any) -> None:
        """Says an event."""
        line = json.dumps({"kind": kind, **event}) + "\n"
        with self._speaking:
            self._events.write(line)
            self._events.flush()

    def live(self) -> None:
        """Says every second from now on that this process lives, whatever it computes, loads or waits for: a frozen one does not."""
        threading.Thread(target=self._live, daemon=True).start()

    def _live(self) -> None:
        while True:
            self.say("alive")
            time.sleep(ALIVE)

    def moved(self) -> None:
        """Says now and then that work goes on."""
        now = time.monotonic()
        if now - self._beat > BEAT:
            self._beat = now
            self.say("moved")

    def send(self, numbers: torch.Tensor) -> None:
        """Sends a checkpoint's numbers, float32 on the CPU and one after the other."""
        view = numbers.numpy().data.cast("B")
        sent = 0
        while sent < len(view):
            sent += os.write(NUMBERS, view[sent : sent + MOST_BYTES])
            self.moved()


def tell_shard(shard: int | None) -> None:
    """Notes on whose rows this process computes: a shard's, or (None) no single one's."""
    # a full disk: this file is not worth a training
    with contextlib.suppress(OSError):
        os.pwrite(WHEREABOUTS, f"{'' if shard is None else shard}".ljust(SHARD_BYTES).encode(), 0)


def _die_with_parent() -> None:
    """A process that is busy in C code would not see for a while that nobody listens any more."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == 1:
            os._exit(0)
