"""Does a command line lose everything that could be a value?"""

import pytest

from thpsweep.linux.capture.provenance import command


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
