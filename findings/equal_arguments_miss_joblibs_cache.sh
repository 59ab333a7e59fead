#!/usr/bin/env bash
# joblib.Memory computes again for arguments that are equal: memory layout and the identity of parts belong to the
# key.
#
# Version:   joblib 1.6.0, numpy 2.4.6.
# Behaviour: the cached function runs again for the same array in Fortran order, for a strided view, for 1.0 in place
#            of 1, for -0.0, and for a list that holds one tuple twice in place of two equal tuples. It does not run
#            again for a dict in another order, or for nan.
# Expected:  a key of values: a == b means a hit (or nan a miss).
# Source:    joblib/hashing.py: NumpyHasher.save() hashes dtype, shape and strides; Hasher is a pickler, whose memo
#            writes a reference for an object seen before.
# Effect:    x.T.copy() and np.asfortranarray, or a point rebuilt from JSON, cost the whole run again.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'joblib==1.6.0' 'numpy==2.4.6'
export WORK=$work
"$work/venv/bin/python" - >"$work/seen" <<'EOF'
import os

import joblib
import numpy as np

calls = []


def function(argument):
    calls.append(argument)
    return 0


cached = joblib.Memory(os.environ["WORK"] + "/cache", verbose=0).cache(function)
array, pair = np.arange(6.0).reshape(2, 3), (1, 2)
for name, first, second in [
    ("Fortran order", array, np.asfortranarray(array)),
    ("strided view", array[:, ::2].copy(), array[:, ::2]),
    ("1 and 1.0", 1, 1.0),
    ("0.0 and -0.0", 0.0, -0.0),
    ("[t, t] and [t, equal tuple]", [pair, pair], [pair, tuple([1, 2])]),
    ("dict in another order", {"a": 1, "b": 2}, {"b": 2, "a": 1}),
    ("nan", float("nan"), float("nan")),
]:
    cached(first)
    before = len(calls)
    cached(second)
    print(f"{name}: {'computed again' if len(calls) > before else 'from the cache'}")
EOF
diff - "$work/seen" <<'EOF' || { echo "the behaviour has changed" >&2; exit 1; }
Fortran order: computed again
strided view: computed again
1 and 1.0: computed again
0.0 and -0.0: computed again
[t, t] and [t, equal tuple]: computed again
dict in another order: from the cache
nan: from the cache
EOF
echo "as described"
