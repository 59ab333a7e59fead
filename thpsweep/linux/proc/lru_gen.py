"""Which of its two ways of aging a kernel uses."""

from pathlib import Path


def is_enabled(home: Path = Path("/")) -> bool:
    """Tell whether pages are aged by MGLRU; a kernel without it says nothing of it.

    Source: mm/vmscan.c lru_gen_enabled(); Documentation/admin-guide/mm/multigen_lru.rst (v6.18).
    """
    file = home / "sys/kernel/mm/lru_gen/enabled"
    return file.is_file() and bool(int(file.read_text().strip() or "0", 16) & 1)
