"""Sends a training's figures to Trackio: ROSLIN_METRICS_COMMAND="python3 deploy/exporters/trackio_exporter.py".

TRACKIO_PROJECT names the project; TRACKIO_DIR, TRACKIO_SPACE_ID and its other variables say where to.
"""

from __future__ import annotations

import contextlib
import os
import sys

import trackio

import lines


def main() -> None:
    """Goes on in the run that the head names, or begins one."""
    head = lines.head()
    name = head["runId"] or head["name"]
    # it prints where its dashboard is
    with contextlib.redirect_stdout(sys.stderr):
        run = trackio.init(os.environ.get("TRACKIO_PROJECT", "roslin"), name, resume="allow", config=head["settings"], auto_log_cpu=False)
    lines.answer(name)
    # the step after the last one that a resumed run has; Trackio says it nowhere else
    following: int = run._next_step
    for step, _, figures in lines.steps():
        if step >= following:
            run.log(figures, step=step)
    with contextlib.redirect_stdout(sys.stderr):
        trackio.finish()  # type: ignore[no-untyped-call]


main()
