#!/usr/bin/env bash
# With pytest 9.2, pytest-xdist's --dist loadgroup sends the tests of one group to several workers, without a word.
#
# Version:   pytest-xdist 3.8.0 with pytest 9.1.1 and with pytest 9.2.0.
# Behaviour: eight tests that are all in one xdist_group run on one of two workers with 9.1.1, on both with 9.2.0. Nothing
#            warns: the scheduler is LoadGroupScheduling in either case. Tests that must not meet (one port, one setting
#            of the machine) meet, and fail now and then.
# Expected:  one worker for a group, or an error where that cannot be had.
# Source:    xdist/remote.py pytest_collection_modifyitems() appends "@group" to item._nodeid; since 9.2 Node.nodeid in
#            _pytest/nodes.py gives str(self._id), so that the scheduler never sees a group.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/test_group.py" <<'EOF'
import os
import time

import pytest


@pytest.mark.xdist_group("one")
@pytest.mark.parametrize("number", range(8))
def test_it(number):
    time.sleep(0.3)
    with open(os.environ["WORKERS"], "a") as file:
        print(os.environ["PYTEST_XDIST_WORKER"], file=file)
EOF
for version in 9.1.1 9.2.0; do
  python3 -m venv "$work/$version"
  "$work/$version/bin/pip" install --quiet --no-compile --disable-pip-version-check "pytest==$version" 'pytest-xdist==3.8.0'
  export WORKERS=$work/workers-$version
  "$work/$version/bin/python" -m pytest -q -p no:cacheprovider -n 2 --dist loadgroup "$work/test_group.py" >/dev/null
  echo "pytest $version: $(wc -l <"$WORKERS") tests on $(sort -u "$WORKERS" | wc -l) of 2 workers"
done >"$work/seen"
cat >"$work/expected" <<'EOF'
pytest 9.1.1: 8 tests on 1 of 2 workers
pytest 9.2.0: 8 tests on 2 of 2 workers
EOF
cat "$work/seen"
diff "$work/expected" "$work/seen"
