"""What text says of processes, before anything is made of it: mappings with their fields, and where each was read."""

from dataclasses import dataclass, field

from thpsweep.linux.capture.imported.lines import Line

SMAPS, ROLLUP, NUMA_MAPS, THPMAPS, MAPS = "smaps", "smaps_rollup", "numa_maps", "thpmaps", "maps"
"""Forms of text; a mapping of which only the addresses were found is of maps."""

PRIVATE = ("Private_Clean", "Private_Dirty")
SHARED = ("Shared_Clean", "Shared_Dirty")
NEEDED = ("Rss", "Pss", *SHARED, *PRIVATE)
"""Fields of smaps without which nothing is known of sharing."""


@dataclass(frozen=True)
class Number:
    """Hold a number and the line that says it."""

    value: int
    line: Line


@dataclass
class PastedMapping:
    """Collect what is said of one mapping. Units: fields in kB as smaps has them, labels of thpmaps too.

    end_byte is None in numa_maps, which does not tell it.
    """

    line: Line
    form: str
    first_byte: int
    end_byte: int | None
    head: str = ""
    fields: dict[str, Number] = field(default_factory=dict)
    labels: dict[str, int] = field(default_factory=dict)
    flags: set[str] | None = None

    def kib(self, name: str) -> int:
        """Give a field; one that this kernel does not have is 0."""
        return self.fields[name].value if name in self.fields else 0

    def missing(self) -> list[str]:
        """List the fields that are needed and were not found."""
        return [name for name in NEEDED if name not in self.fields]


@dataclass
class PastedProcess:
    """Collect what is said of one process."""

    line: Line
    pid: int | None = None
    name: str = ""
    parent_pid: int | None = None
    thp_off: bool | None = None
    mappings: list[PastedMapping] = field(default_factory=list)
    labels: dict[str, int] = field(default_factory=dict)

    def of(self, form: str) -> list[PastedMapping]:
        """List the mappings that were found in one form of text."""
        return [mapping for mapping in self.mappings if mapping.form == form]

    def last(self, form: str) -> PastedMapping | None:
        """Give the latest mapping that was found in one form of text."""
        return next((mapping for mapping in reversed(self.mappings) if mapping.form == form), None)

    @property
    def who(self) -> str:
        """Name it in a message."""
        return f"process {self.pid}" if self.pid is not None else "a process without a pid"


@dataclass
class Pasted:
    """Collect what a text holds: processes, settings of THP, the kernel's release, and what was left out."""

    processes: list[PastedProcess] = field(default_factory=list)
    settings: dict[str, str] = field(default_factory=dict)
    kernel_release: str = ""
    swap_total_kib: int | None = None
    lru_gen: bool | None = None
    notes: list[str] = field(default_factory=list)
    stray: Line | None = None
    """The first field that stood without a mapping."""
