"""Read pasted text line by line: which process a line belongs to, and what it says of which mapping."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice

from thpsweep.linux.capture.imported import forms
from thpsweep.linux.capture.imported.lines import Line
from thpsweep.linux.capture.imported.pasted import (
    MAPS,
    NEEDED,
    NUMA_MAPS,
    ROLLUP,
    SMAPS,
    THPMAPS,
    Number,
    Pasted,
    PastedMapping,
)
from thpsweep.linux.capture.imported.settings import Settings
from thpsweep.linux.capture.imported.whose import Whose

_SMAPS_ONLY = {*NEEDED, "Size", "Referenced", "Pss_Anon", "Pss_Dirty"}
"""Fields that no other file has: /proc/meminfo shares some names."""

_WITH_FIELDS = (SMAPS, ROLLUP, THPMAPS)

_COPIED = "FIELD: N kB lines as /proc/PID/smaps has them"


def read(texts: Iterable[Sequence[Line]]) -> Pasted:
    """Read files, each cleaned. Raises: CaptureError naming the first line that cannot be."""
    reader = _Reader()
    for text in texts:
        reader.boundary(text[0].source if text else "")
        for position, line in enumerate(text):
            reader.take(line, islice(text, position + 1, None))
        reader.finish()
    return reader.result()


@dataclass
class _Reader:
    """Keep what the next line may go on with: the process, the mapping, a line that a mail has wrapped."""

    pasted: Pasted = field(default_factory=Pasted)
    settings: Settings = field(default_factory=Settings)
    whose: Whose = field(default_factory=Whose)
    mapping: PastedMapping | None = None
    partial: Line | None = None
    is_begun: bool = False
    is_within: bool = False
    is_meminfo: bool = False
    last: str = ""

    def result(self) -> Pasted:
        """Give what was found."""
        self.pasted.settings = self.settings.found
        self.pasted.processes = [each for each in self.whose.processes if each.mappings or each.labels]
        return self.pasted

    def boundary(self, source: str) -> None:
        """Begin a file: what comes is another process, unless its pid or its form says otherwise."""
        self.close(may_be_cut=True)
        self.whose.apart()
        self.is_begun = self.is_within = self.is_meminfo = False
        if (found := forms.PROC_PID.search(source)) and found[2]:
            self.whose.named([int(found[2])])

    def finish(self) -> None:
        """End a file, in which the last line may have been cut."""
        self.close(may_be_cut=True)
        if self.partial is not None:
            self.pasted.notes.append(
                f"{self.partial.source}:{self.partial.number}: {self.partial.text!r}: cut short: left out"
            )
        self.partial = None

    def take(self, line: Line, rest: Iterable[Line]) -> None:
        """Read a line. Raises: CaptureError."""
        if self.partial is not None:
            line, self.partial = (
                Line(self.partial.source, self.partial.number, f"{self.partial.text} {line.text}"),
                None,
            )
        if grepped := forms.GREPPED.match(line.text):
            self._named([int(grepped[1])])
            line = Line(line.source, line.number, grepped[2].strip())
        kinds = (
            self._mapping, self._label, self._fields, self._flags, self._policy, self._continued, self._setting,
            self._header,
        )  # fmt: skip
        for kind in kinds:
            if kind(line):
                self.last = kind.__name__
                return
        self._other(line, rest)

    def close(self, may_be_cut: bool) -> None:
        """End a mapping. One without any field is of maps; one that lacks some has been cut, where text ends."""
        mapping, self.mapping = self.mapping, None
        if mapping is None or mapping.form == NUMA_MAPS:
            return
        missing = mapping.missing()
        if mapping.form == THPMAPS:
            mapping.form = THPMAPS if missing else SMAPS
        elif not mapping.fields:
            mapping.form = MAPS
        elif missing and (mapping.flags is not None or not may_be_cut):
            raise mapping.line.fault(f"{', '.join(missing)} below it: all the fields of the mapping")
        elif missing:
            self._leave_out(mapping, f"cut short, without {missing[0]}")

    def _leave_out(self, mapping: PastedMapping, why: str) -> None:
        self.whose.drop(mapping)
        where = f"{mapping.line.source}:{mapping.line.number}"
        self.pasted.notes.append(f"{where}: {mapping.line.text.split(' ')[0]!r}: {why}: left out")

    # --- kinds of lines -----------------------------------------------------------------------------------------------

    def _mapping(self, line: Line) -> bool:
        if not forms.RANGE.match(line.text):
            return False
        found = forms.MAPPING.match(line.text)
        if found is None:
            if len(line.text.split()) > 6:
                raise line.fault("START-END PERMISSIONS OFFSET DEVICE INODE NAME of a mapping")
            self.partial = line
            return True
        self.close(may_be_cut=False)
        pid, first, end, permissions, offset, device, inode, name = found.groups()
        first_byte, end_byte = int(first, 16), int(end, 16)
        if first_byte >= end_byte:
            raise line.fault("an address range that ends after it begins")
        inode = str(int(inode, 16)) if pid else inode
        form = ROLLUP if name == "[rollup]" else THPMAPS if pid else SMAPS
        if pid:
            self.whose.named([int(pid)])
        head = f"{first}-{end} {permissions} {offset} {device} {inode} {name or ''}"
        self._open(PastedMapping(line, form, first_byte, end_byte, head))
        return True

    def _label(self, line: Line) -> bool:
        found = forms.LABEL.match(line.text)
        if found is None:
            return False
        if self.mapping is not None and self.mapping.form in _WITH_FIELDS:
            self.mapping.labels[found[1]] = int(found[2])
        elif self.whose.process is not None:
            labels = self.whose.process.labels
            labels[found[1]] = labels.get(found[1], 0) + int(found[2])
        return True

    def _fields(self, line: Line) -> bool:
        if forms.MEMINFO.match(line.text):
            self.close(may_be_cut=True)
            self.is_meminfo = True
            return True
        if forms.PID.match(line.text) or forms.STATUS.match(line.text) or not forms.FIELDS.match(line.text):
            return False
        for name, value in forms.FIELD.findall(line.text):
            self._field(name, int(value), line)
        return True

    def _field(self, name: str, value: int, line: Line) -> None:
        mapping = self.mapping
        if name == "SwapTotal":
            self.pasted.swap_total_kib = value
        if mapping is None or mapping.form not in _WITH_FIELDS or mapping.flags is not None:
            if name in _SMAPS_ONLY and not self.is_meminfo:
                self._stray(line)
            return
        if name in mapping.fields:
            raise line.fault(f"{name} once in a mapping; is a line with addresses missing before it?")
        mapping.fields[name] = Number(value, line)

    def _stray(self, line: Line) -> None:
        """Take a field that no mapping was named for: a text may begin within one, but not go on so."""
        if self.is_begun:
            raise line.fault("the line with the mapping's addresses before its fields")
        if self.pasted.stray is None:
            self.pasted.stray = line
        if not self.is_within:
            self.pasted.notes.append(f"{line.source}:{line.number}: {line.text!r}: begins within a mapping: left out")
        self.is_within = True

    def _flags(self, line: Line) -> bool:
        found = forms.FLAGS.match(line.text)
        if found is None:
            return False
        if self.mapping is not None:
            self.mapping.flags = set(found[1].split())
        return True

    def _policy(self, line: Line) -> bool:
        found = forms.POLICY.match(line.text)
        if found is None:
            return False
        self.close(may_be_cut=False)
        mapping = PastedMapping(line, NUMA_MAPS, int(found[1], 16), None, found[2].strip())
        self._open(mapping)
        return True

    def _continued(self, line: Line) -> bool:
        mapping, text = self.mapping, line.text
        if mapping is None:
            return False
        if mapping.form == NUMA_MAPS and forms.MORE_POLICY.match(text):
            mapping.head = f"{mapping.head} {text}".strip()
        elif mapping.flags is not None and self.last in ("_flags", "_continued") and forms.MORE_FLAGS.match(text):
            mapping.flags |= set(text.split())
        elif (
            not mapping.fields
            and mapping.form in (SMAPS, THPMAPS)
            and self.last == "_mapping"
            and forms.NAME_ALONE.match(text)
        ):
            mapping.head += text
            mapping.form = ROLLUP if text == "[rollup]" else mapping.form
        elif not forms.UNIT_ALONE.match(text):
            return False
        return True

    def _setting(self, line: Line) -> bool:
        if not self.settings.take(line):
            return False
        self.close(may_be_cut=True)
        return True

    def _header(self, line: Line) -> bool:
        found, status, pid = (
            forms.PROC_PID.findall(line.text),
            forms.STATUS.match(line.text),
            forms.PID.match(line.text),
        )
        release = forms.RELEASE.match(line.text)
        lru_gen = forms.LRU_GEN.match(line.text)
        if not (release or status or pid or found or lru_gen or forms.TAIL.match(line.text)):
            return False
        self.close(may_be_cut=True)
        self.is_begun = self.is_within = self.is_meminfo = False
        if release:
            self.pasted.kernel_release = release[1]
        elif lru_gen:
            self.pasted.lru_gen = bool(int(lru_gen[1], 16) & 1)
        elif status:
            self.whose.status(status[1], status[2])
        else:
            several = [pid[1]] if pid else [number for many, one in found for number in (many or one).split(",")]
            self._named([int(number) for number in dict.fromkeys(several) if number])
        return True

    def _named(self, pids: Sequence[int]) -> None:
        """Go on with a process by its pid; of another one only the end of a mapping may come."""
        if self.whose.process is None or [self.whose.process.pid] != [*pids][:1]:
            self.close(may_be_cut=True)
            self.is_begun = False
        self.whose.named(pids)

    def _open(self, mapping: PastedMapping) -> None:
        """Begin a mapping."""
        self.whose.add(mapping)
        self.mapping, self.is_begun, self.is_meminfo = mapping, True, False

    def _other(self, line: Line, rest: Iterable[Line]) -> None:
        """Pass over what is none of ours, but not inside a mapping, where it may be a line that was spoilt."""
        mapping, named = self.mapping, forms.FIELD_NAME.match(line.text)
        if forms.PMAP.match(line.text):
            raise line.fault("/proc/PID/smaps: this table does not say who shares")
        if mapping is None or mapping.form not in _WITH_FIELDS or mapping.flags is not None:
            return
        if forms.CUT.match(line.text):
            self.close(may_be_cut=True)
        elif named and named[1] in mapping.fields | dict.fromkeys(_SMAPS_ONLY) and not named[2]:
            self.partial = line
        elif forms.NOTHING.match(line.text) or not mapping.missing():
            return
        elif not any(each.text and not forms.NOTHING.match(each.text) for each in rest):
            self.close(may_be_cut=True)
        elif mapping.fields or named:
            raise line.fault(_COPIED)
