"""What a sweep was asked."""

from pathlib import Path

import yaml


def question_of(directory: Path) -> str:
    """Look up what a sweep asks; nothing where it was none of the saved questions."""
    file = directory / "config.yaml"
    found = yaml.safe_load(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return str((found.get("sweep") or {}).get("question") or "")
