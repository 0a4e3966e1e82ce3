"""Sends a training's figures to MLflow: ROSLIN_METRICS_COMMAND="python3 deploy/exporters/mlflow_exporter.py".

MLFLOW_TRACKING_URI and MLFLOW_EXPERIMENT_NAME say where to.
"""

from __future__ import annotations

import os

from mlflow.entities import Metric, Param
from mlflow.tracking import MlflowClient

import lines

# the longest value of a parameter
MOST = 6000
# of a request: the server takes no more
MOST_METRICS = 1000


def main() -> None:
    """Goes on in the run that the head names, or begins one."""
    head = lines.head()
    client = MlflowClient()
    run_id = head["runId"]
    if run_id is None:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "roslin")
        experiment = client.get_experiment_by_name(name)
        run = client.create_run(experiment.experiment_id if experiment else client.create_experiment(name), run_name=head["name"])
        run_id = run.info.run_id
        settings = lines.flat(head["settings"])
        client.log_batch(run_id, params=[Param(key, str(value)[:MOST]) for key, value in settings.items()])
    else:
        client.update_run(run_id, status="RUNNING")
    lines.answer(run_id)
    # a step that is there already has the same figures
    last = max((metric.step for metric in client.get_metric_history(run_id, lines.ALWAYS)), default=0)
    for batch in lines.batches(MOST_METRICS // len(lines.NAMES)):
        new = [each for each in batch if each[0] > last]
        metrics = [Metric(name, value, int(time * 1000), step) for step, time, figures in new for name, value in figures.items()]
        if metrics:
            client.log_batch(run_id, metrics=metrics)
            last = new[-1][0]
    client.set_terminated(run_id, "FINISHED" if last == head["totalSteps"] else "KILLED")


main()
