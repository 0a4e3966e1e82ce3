"""One rank of training with DeepSpeed: started by the engine in engines/deepspeed/, which speaks JSON lines with it."""

from __future__ import annotations

from wire import Wire

# first, so that nothing that a library prints is taken for an event
WIRE = Wire()

import os  # noqa: E402
import sys  # noqa: E402

from training import train  # noqa: E402

if __name__ == "__main__":
    train(WIRE)
    sys.stdout.flush()
    # what libraries do at exit may wait for ranks that are gone
    os._exit(0)
