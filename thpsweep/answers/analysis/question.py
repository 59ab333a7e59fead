"""What a sweep was asked."""

from pathlib import Path

import yaml

from thpsweep.errors import SweepError


def question_of(directory: Path) -> str:
    """Look up what a sweep asks; nothing where it was none of the saved questions. Raises: SweepError."""
    file = directory / "config.yaml"
    try:
        found = yaml.safe_load(file.read_text(encoding="utf-8")) if file.is_file() else {}
    except (UnicodeDecodeError, yaml.YAMLError) as problem:
        raise SweepError(f"{file}: cannot be read; the sweep's own command writes it anew") from problem
    return str((found.get("sweep") or {}).get("question") or "") if isinstance(found, dict) else ""
