"""Write a file of a user's own that works as it is: `thpsweep new KIND NAME`."""

import re
import string
from pathlib import Path

from thpsweep.errors import ThpsweepError
from thpsweep.model import registry
from thpsweep.shipped import conf_dir

TRY = {
    "mechanism": "policy=switch,{name}",
    "gate": "policy=switch policy/gate=always,{name}",
    "trigger": "policy=switch policy/trigger=madvise,{name}",
    "workload": "workload={name} policy=switch",
    "sharing": "sharing=fixed,{name} policy=switch",
    "memory": "memory=plentiful,{name} policy=switch",
    "metric": "policy=copy,switch",
}
"""What to sweep with it at first."""


def new(kind: str, name: str, folder: Path) -> list[str]:
    """Write NAME.py, and NAME.yaml where it needs values; give the lines that say what to do with it.

    Raises: ThpsweepError where the name is none, is taken, or a file is there already.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise ThpsweepError(f"{name}: expected a name of small letters, digits and '_', like my_{kind}")
    if name in registry.options(kind):
        raise ThpsweepError(
            f"{name}: expected a name that no {kind} has yet; taken: {', '.join(registry.options(kind))}"
        )
    texts = {folder / f"{name}.py": _text(kind, name)}
    if kind == "workload":
        texts[folder / f"{name}.yaml"] = _values(name)
    for file in texts:
        if file.exists():
            raise ThpsweepError(f"{file}: expected a name of which there is no file yet")
    for file, text in texts.items():
        file.write_text(text, encoding="utf-8")
    example = f"--plugin {folder / name}.py {TRY[kind].format(name=name)}"
    scene = "" if kind == "workload" else "workload=prefork "
    degree = "" if kind == "sharing" else "sharing.degree=4,16"
    return [
        f"written: {', '.join(map(str, texts))}",
        f"check it:   thpsweep check {folder / name}.py",
        f"sweep it:   thpsweep sweep {example} {scene}{degree}".rstrip(),
    ]


def _text(kind: str, name: str) -> str:
    template = (Path(__file__).parent / "templates" / f"{kind}.txt").read_text(encoding="utf-8")
    return string.Template(template).substitute(name=name, Name="".join(word.title() for word in name.split("_")))


def _values(name: str) -> str:
    """Take the values of a workload that ships, each with what it means, and add those of the template's own."""
    lines = (conf_dir() / "workload" / "prefork.yaml").read_text(encoding="utf-8").splitlines()
    first = lines.index("  - _self_") + 1
    head = [
        f"# The values of {name}.py, to be replaced by your program's; any can be given as workload.KEY=VALUE, too."
    ]
    own = ["load: 1.0                               # share of the load that the rates below belong to"]
    return "\n".join([*head, *own, *lines[first:]]) + "\n"
