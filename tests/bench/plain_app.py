"""What people write today: a Hydra app on the basic launcher that records with MLflow's fluent API, value by value.

It simulates and records what thpsweep does: the same points, the same params, tags and metrics of a run.
"""

import sys
import time
from pathlib import Path

import hydra
import mlflow
from omegaconf import DictConfig

from thpsweep.config.point import point_of
from thpsweep.config.register import register
from thpsweep.model.simulate import simulate
from thpsweep.shipped import conf_dir
from thpsweep.sweep.records import run_record, run_series

NOW = "2026-01-02T03:04:05+00:00"

register()


@hydra.main(config_path=str(conf_dir()), config_name="config", version_base="1.3")
def app(config: DictConfig) -> None:
    """Run one job."""
    point = point_of(config)
    result = {"result": simulate(point), "state": "done", "finished": NOW, "wall_s": 0.0, "host": "h", "attempts": 1}
    record = {"id": "0" * 64, "point": point, "params": {}}
    with mlflow.start_run(run_name=run_record.run_name(record)):
        for name, text in run_record.params(record).items():
            mlflow.log_param(name, text)
        for name, text in run_record.point_tags(record, result).items():
            mlflow.set_tag(name, text)
        for name, value in run_record.metrics(result).items():
            mlflow.log_metric(name, value)
        for step in run_series.values(result, 0, 1):
            mlflow.log_metric(step.name, step.value, step=step.step)
    with Path("ends").open("a") as file:
        file.write(f"{time.time()}\n")


if __name__ == "__main__":
    mlflow.set_tracking_uri(f"sqlite:///{Path('mlflow.db').absolute()}")
    mlflow.set_experiment("plain")
    sys.argv[1:1] = ["--multirun", "hydra/launcher=basic", "hydra/sweeper=basic"]
    app()
