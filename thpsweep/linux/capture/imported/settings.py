"""The settings of THP as they are pasted: `grep -r . /sys/kernel/mm/transparent_hugepage`, `cat` of one, the bare line.

Source: mm/huge_memory.c enabled_show(), defrag_show(), anon_enabled_show(); mm/khugepaged.c khugepaged_attr (v6.18).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from thpsweep.linux.capture.imported.lines import Line
from thpsweep.units import HPAGE_PMD_SIZE_BYTES

_REST = r"(?:khugepaged/|hugepages-\d+kB/(?:stats/)?)?[a-z_]+"
_PATH = re.compile(rf"(?:redhat_)?transparent_hugepage/({_REST})")
_RELATIVE = re.compile(rf"^(?:\./)?((?:khugepaged/|hugepages-\d+kB/){_REST}|enabled|defrag|shmem_enabled):(.+)$")
_CHOSEN = re.compile(r"\[([a-z_+]+)\]")
_WORDS = {
    "enabled": {"always", "madvise", "never"},
    "defrag": {"always", "defer", "defer+madvise", "madvise", "never"},
    "shmem_enabled": {"always", "within_size", "advise", "never", "deny", "force"},
}
_VOCABULARY = {"inherit"}.union(*_WORDS.values())
_PMD_SIZE = f"hugepages-{HPAGE_PMD_SIZE_BYTES // 1024}kB/enabled"


@dataclass
class Settings:
    """Collect settings line by line; `awaited` are those whose paths were named, and whose values come next."""

    found: dict[str, str] = field(default_factory=dict)
    lines: dict[str, Line] = field(default_factory=dict)
    awaited: list[str] = field(default_factory=list)

    def take(self, line: Line) -> bool:
        """Read a line if it is about a setting. Raises: CaptureError where it contradicts an earlier one, or itself."""
        if relative := _RELATIVE.match(line.text):
            return self._keep(relative[1], relative[2].strip(), line)
        paths = [(match[1], line.text[match.end() :]) for match in _PATH.finditer(line.text)]
        if len(paths) == 1 and paths[0][1].startswith(":") and paths[0][1][1:].strip():
            return self._keep(paths[0][0], paths[0][1][1:].strip(), line)
        if paths:
            self.awaited = [name for name, _ in paths]
            return True
        words = {word.strip("[]") for word in line.text.split()}
        is_value = bool(words) and (line.text.isdecimal() or words <= _VOCABULARY)
        if self.awaited and is_value:
            return self._keep(self.awaited.pop(0), line.text, line)
        name = _guess(words) if "[" in line.text else None
        return name is not None and self._keep(name, line.text, line)

    def _keep(self, name: str, text: str, line: Line) -> bool:
        value = _value(name, text, line)
        if name in self.lines and value != self.found[name] and not name.endswith(("full_scans", "pages_collapsed")):
            raise line.fault(
                f"{self.found[name]!r} as in line {self.lines[name].number}, or the text of one machine only"
            )
        self.found[name], self.lines[name] = value, line
        if name == "hpage_pmd_size" and value != str(HPAGE_PMD_SIZE_BYTES):
            raise line.fault(f"huge pages of {HPAGE_PMD_SIZE_BYTES} bytes: the model has no others")
        return True


def _value(name: str, text: str, line: Line) -> str:
    if text.isdecimal():
        return text
    chosen = _CHOSEN.findall(text)
    if len(chosen) != 1:
        raise line.fault(f"a number, or the word in force in brackets, as in 'always [madvise] never', of {name}")
    return str(chosen[0])


def _guess(words: set[str]) -> str | None:
    """Tell by the words that can be chosen which setting a line is."""
    if words == {"always", "inherit", "madvise", "never"}:
        return _PMD_SIZE
    return next((name for name, choices in _WORDS.items() if words == choices), None)


def provenance(found: Mapping[str, str]) -> dict[str, str | int]:
    """Spell settings as a capture of a live tree does; those that are not in the text are left out."""
    facts: dict[str, str | int] = {}
    for path, name in (("enabled", "thp_enabled"), ("defrag", "thp_defrag"), (_PMD_SIZE, "thp_pmd_setting")):
        if path in found:
            facts[name] = found[path]
    own = str(facts.get("thp_pmd_setting", "inherit"))
    effective = facts.get("thp_enabled") if own == "inherit" else own
    if effective is not None:
        facts["thp_pmd_enabled"] = effective
    for path, value in found.items():
        folder, _, name = path.partition("/")
        if folder == "khugepaged" and name not in ("full_scans", "pages_collapsed"):
            facts[f"khugepaged_{name}"] = int(value) if value.isdecimal() else value
    return facts
