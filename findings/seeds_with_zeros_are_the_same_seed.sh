#!/usr/bin/env bash
# Different entropy lists of NumPy's SeedSequence give the same random numbers, some the numbers of a spawned child.
#
# Version:   numpy 2.4.6.
# Behaviour: trailing zeros up to four words do not count: 7, [7], [7, 0] and [7, 0, 0, 0] are one stream; so
#            replicate 0 of a scheme [root, point, replicate] is the stream of [root, point]. An integer is cut into
#            32-bit words, so 2**32 is [0, 1]. [7, 0, 0, 0, k] is child k of SeedSequence(7).spawn().
# Expected:  a hash of the list: every list its own stream, and spawned ones apart from all (each use of the library's
#            recommended [worker_id, root_seed] lists with a zero in it looks safe).
# Source:    numpy/random/bit_generator.pyx SeedSequence.mix_entropy() pads with zeros to pool_size = 4 words;
#            get_assembled_entropy() appends the spawn key after that padding (numpy issue 16539, pull request 16551).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'numpy==2.4.6'
"$work/venv/bin/python" - >"$work/seen" <<'EOF'
from numpy.random import SeedSequence, default_rng


def stream(seed):
    return default_rng(seed).integers(1 << 62, size=4).tolist()


print("7 == [7] == [7, 0] == [7, 0, 0, 0]:", stream(7) == stream([7]) == stream([7, 0]) == stream([7, 0, 0, 0]))
print("[3, 5] == [3, 5, 0], replicate 0 of point 5:", stream([3, 5]) == stream([3, 5, 0]))
print("[3, 5] == [3, 5, 1]:", stream([3, 5]) == stream([3, 5, 1]))
print("2**32 == [0, 1]:", stream(2**32) == stream([0, 1]))
children = SeedSequence(7).spawn(3)
print("[7, 0, 0, 0, k] == child k:", [stream([7, 0, 0, 0, k]) == stream(children[k]) for k in range(3)])
print("[1, 2, 3, 4, 9] == [1, 2, 3, 4] with spawn_key (9,):", stream([1, 2, 3, 4, 9]) == stream(SeedSequence([1, 2, 3, 4], spawn_key=(9,))))
EOF
diff - "$work/seen" <<'EOF' || { echo "the behaviour has changed" >&2; exit 1; }
7 == [7] == [7, 0] == [7, 0, 0, 0]: True
[3, 5] == [3, 5, 0], replicate 0 of point 5: True
[3, 5] == [3, 5, 1]: False
2**32 == [0, 1]: True
[7, 0, 0, 0, k] == child k: [True, True, True]
[1, 2, 3, 4, 9] == [1, 2, 3, 4] with spawn_key (9,): True
EOF
echo "as described"
