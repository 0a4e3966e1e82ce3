"""One rank of training with DeepSpeed: started by the engine in engines/deepspeed/, which speaks JSON lines with it."""

from __future__ import annotations

from wire import Wire

# first, so that nothing that a library prints is taken for an event
WIRE = Wire()

import os  # noqa: E402
import sys  # noqa: E402


def main() -> None:
    try:
        import torch

        # otherwise DeepSpeed looks for every kind of accelerator, and warns when it finds none
        os.environ.setdefault("DS_ACCELERATOR", "cuda" if torch.cuda.is_available() else "cpu")
        from training import train
    except Exception as error:
        WIRE.say("failed", name=type(error).__name__, message=f"{type(error).__name__}: {error}", place="while it loaded its libraries")
    else:
        train(WIRE)
    sys.stderr.flush()
    # what libraries do at exit may wait for ranks that are gone
    os._exit(0)


if __name__ == "__main__":
    main()
