"""Does a command line lose everything that could be a value?"""

from pathlib import Path

import pytest

from thpsweep.linux.capture.provenance import command, enabled_for_pmds, reclaim


@pytest.mark.parametrize(
    ("program", "arguments", "expected"),
    [
        ("redis-server", ["/usr/bin/redis-server", "--save", "", "--port", "7000"], "redis-server --save --port"),
        ("redis-server", ["/usr/bin/redis-server 127.0.0.1:7000", "", ""], "redis-server"),
        ("mysqld", ["mysqld", "--password=hunter2", "-phunter2"], "mysqld --password -p"),
        ("java", ["java", "-Xmx4g", "-Dkey=secret", "-jar", "/home/me/app.jar"], "java -X -D -j"),
        ("postgres", ["postgres: alice payroll 10.0.0.7(4711) idle"], "postgres:"),
        ("worker", ["job: reading /home/alice/payroll"], "worker"),
        ("tool", ["/home/My Secret/tool", "--", "--not-an-option"], "tool"),
        ("python3.11", ["/opt/venv/bin/python3.11", "-c", "print('x')"], "python3.11 -c"),
        (
            "a-program-with-",
            ["/bin/a-program-with-a-long-name", "--token", "s3cret"],
            "a-program-with-a-long-name --token",
        ),
        ("tool", ["tool", "--key123", "--x" * 30], "tool"),
        ("gone", [""], "gone"),
    ],
)
def test_only_names_are_kept(program, arguments, expected):
    assert command(program, arguments) == expected


@pytest.mark.parametrize(
    ("top", "own", "effective"),
    [
        ("never", "always", "always"),
        ("always", "never", "never"),
        ("madvise", "inherit", "madvise"),
        ("always", None, "always"),
    ],
)
def test_what_is_enabled_for_pmds_is_their_own_setting_or_the_one_for_all_sizes(tmp_path, top, own, effective):
    (tmp_path / "enabled").write_text(f"x [{top}] y\n")
    if own is not None:
        (tmp_path / "hugepages-2048kB").mkdir()
        (tmp_path / "hugepages-2048kB" / "enabled").write_text(f"x [{own}] y\n")
    assert enabled_for_pmds(tmp_path) == effective


@pytest.mark.parametrize(
    ("swaps", "enabled", "expected"),
    [(0, "0x0007", "none"), (1, "0x0007", "mglru"), (1, "0x0000", "classic"), (1, None, "classic")],
)
def test_how_the_machine_reclaims(tmp_path: Path, swaps: int, enabled: str | None, expected: str) -> None:
    """Without swap nothing; Debian has MGLRU compiled in and switched off."""
    lines = ["Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority", *["/dev/zram0 partition 1000 0 100"] * swaps]
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/swaps").write_text("\n".join(lines) + "\n")
    if enabled is not None:
        (tmp_path / "sys/kernel/mm/lru_gen").mkdir(parents=True)
        (tmp_path / "sys/kernel/mm/lru_gen/enabled").write_text(enabled + "\n")
    assert reclaim(tmp_path) == expected
