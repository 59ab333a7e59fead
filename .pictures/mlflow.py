"""Cut the picture that the browser test took of MLflow's page: python .pictures/mlflow.py charts.png writes mlflow.png.

THPSWEEP_SHOTS=/tmp python -m pytest -m slow tests/browser -k parallel_coordinates_and_scatters
python .pictures/mlflow.py /tmp/charts.png
"""

import sys
from pathlib import Path

from PIL import Image

RUNS_SHARE = 0.745
"""Share of the width that the runs have; MLflow's assistant has the rest."""

WIDTH, COLOURS = 1200, 128


def main(shot: Path) -> None:
    """Write the picture."""
    whole = Image.open(shot).convert("RGB")
    runs = whole.crop((0, 0, int(whole.width * RUNS_SHARE), whole.height))
    small = runs.resize((WIDTH, WIDTH * runs.height // runs.width), Image.Resampling.LANCZOS)
    small.quantize(COLOURS).save(Path(__file__).with_suffix(".png"), optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
