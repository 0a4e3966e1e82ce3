"""Sends a training's figures to Weights & Biases: ROSLIN_METRICS_COMMAND="python3 deploy/exporters/wandb_exporter.py".

WANDB_API_KEY, WANDB_PROJECT, WANDB_MODE and its other variables say where to.
"""

from __future__ import annotations

import os
import pathlib

import wandb

import lines


def main() -> None:
    """Goes on in the run that the head names, or begins one."""
    head = lines.head()
    project = os.environ.get("WANDB_PROJECT", "roslin")
    run = wandb.init(project=project, name=head["name"], id=head["runId"], resume="allow", config=head["settings"])
    lines.answer(run.id)
    # offline, where wandb keeps a directory for each start, it does not know what an earlier one had
    known = pathlib.Path(run.dir).parents[1] / f"roslin-{run.id}.step"
    last = int(known.read_text()) if run.offline and known.exists() else run.step - 1
    for step, _, figures in lines.steps():
        if step > last:
            run.log(figures, step=step, commit=True)
            last = step
            if run.offline:
                known.write_text(str(step))
    run.finish()


main()
