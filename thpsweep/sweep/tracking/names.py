"""What is called how in MLflow: the tags and the metric that the code reads back, and MLflow's own words. No MLflow here."""

SWEEP = "thpsweep.sweep"
"""Tag of a sweep's own run: its id."""

DIRECTORY = "thpsweep.directory"
"""Tag of a sweep's own run: the name of its folder."""

FILES = "thpsweep.files"
"""Tag of a sweep's own run: the files that it has, and what they held."""

N_POINTS = "sweep/points"
"""Metric of a sweep's own run, and of no other."""

POINT, FINISHED_AT = "thpsweep.point", "thpsweep.finished"
"""Tags of a point's run: its id, and when the result came in."""

PARENT, USER, NAME = "mlflow.parentRunId", "mlflow.user", "mlflow.runName"
NOTE, COLOUR = "mlflow.note.content", "mlflow.runColor"
"""Tags that MLflow gives a meaning."""

ACTIVE = "active"
"""Lifecycle stage of what is not in the trash."""

RUNNING, FINISHED, FAILED = "RUNNING", "FINISHED", "FAILED"
"""How a run ended."""
