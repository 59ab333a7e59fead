"""What the lines of /proc and of THP's settings look like, kernels 2.6.25 to 7.x.

Source: fs/proc/task_mmu.c show_map_vma(), __show_smap(), show_smap_vma_flags(), show_numa_map(); tools/mm/thpmaps
vma_print(), stats_print() (v6.18).
"""

import re

_ADDRESSES = r"([0-9a-f]{5,16})-([0-9a-f]{5,16})"
RANGE = re.compile(rf"^(?:\d{{10}}:\s+)?{_ADDRESSES}(?:\s|$)")
"""How a mapping's line begins; a mail may have wrapped the rest."""

MAPPING = re.compile(
    rf"^(?:(?P<pid>\d{{10}}):\s+)?{_ADDRESSES}\s+([r-][w-][x-][ps])\s+([0-9a-f]+)\s+([0-9a-f]+:[0-9a-f]+)\s+([0-9a-f]+)(?:\s+(.*))?$"
)
NAME_ALONE = re.compile(r"^(?:\[[^\]]+\]|/(?!proc/\d|sys/)\S.*)$")
"""The name of a mapping that has come to stand on a line of its own."""

FIELDS = re.compile(r"^(?:[A-Z]\w+:\s+\d+(?:\s*[kK]B)?(?:\s+|$))+$")
FIELD = re.compile(r"([A-Z]\w+):\s+(\d+)")
FIELD_NAME = re.compile(r"^([A-Z]\w+):\s*(.*)$")
UNIT_ALONE = re.compile(r"^(\d+)?\s*kB$")
FLAGS = re.compile(r"^VmFlags:\s*(.*)$")
MORE_FLAGS = re.compile(r"^(?:(?:[a-z]{2}|\?\?)(?:\s+|$))+$")
LABEL = re.compile(r"^((?:anon|file)-(?:thp|cont)-[\w-]+):\s+(\d+)\s*kB(?:\s*\(.*\))?$")
POLICY = re.compile(
    r"^([0-9a-f]{5,16})\s+(?:default|local|prefer|bind|interleave|weighted interleave)(?: \(many\))?(?:[=:]\S*)?"
    r"(?=\s|$)(.*)$"
)
MORE_POLICY = re.compile(r"^(?:(?:\w+=\S+|heap|stack|huge)(?:\s+|$))+$")
CUT = re.compile(
    r"^\W*(?:\.\.\.+|…|(?:\.{2,}\W*)?(?:snip\w*|cut|truncated|omitted|skipped|more)\b)[\w\s]{0,30}\W*$", re.I
)
"""A line that stands for others."""

NOTHING = re.compile(r"^(?:\W*|\{\w+\})$")
"""A line that says nothing: blank, a fence, a rule."""

PROC_PID = re.compile(r"/proc/(?:\{([\d,]+)\}|(\d+)|self|thread-self)\b")
GREPPED = re.compile(r"^\S*?/?proc/(\d+)/(?:smaps|smaps_rollup|numa_maps)[:-](?:\d{1,7}[:-])?(?=\s*\S)(.*)$")
"""What grep puts before a line where it reads several files."""

PID = re.compile(r"^\W*(?i:process\s+)?(?:Pid|PID|pid)\W*\s*[:=]?\s*(\d+)\W*$")
STATUS = re.compile(r"^(Name|PPid|THP_enabled):\s+(\S+)$")
MEMINFO = re.compile(r"^MemTotal:\s+\d+\s*kB$")
TAIL = re.compile(r"^==> (.+) <==$")
PMAP = re.compile(r"^(?:Address\s+(?:Kbytes|Perm)\b|PID\s+User\s+Command\s+Swap\s+USS)")
"""Tables of pmap and smem, which have no Pss of each mapping, or no mapping."""

LRU_GEN = re.compile(r"^(?:\S*lru_gen/enabled:)?0x([0-9a-f]{4})$")
"""What /sys/kernel/mm/lru_gen/enabled says: a mask, of which bit 0 is MGLRU."""

RELEASE = re.compile(r"^Linux\s+(?:version\s+|\S+\s+)(\d+\.\d+[\w.+~-]*)(?=\s)")
