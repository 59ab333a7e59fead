#!/usr/bin/env bash
# NumPy's generator gives other small integers when they are drawn in other portions.
#
# Version:   numpy 2.4.6.
# Behaviour: 32 values of uint8, uint16 or bool are not 31 and 1, nor 32 single ones: each call starts on a fresh
#            32-bit word and throws away what is left of it. With uint32, int64, random() and normal() the portions
#            make no difference.
# Expected:  a stream is a stream: drawing 32 equals drawing 31 and 1.
# Source:    numpy/random/src/distributions.c buffered_bounded_masked_uint8(), buffered_uint8(): the buffer lives as
#            long as the call (numpy/random/_bounded_integers.pyx.in).
# Effect:    chunked simulation with compact types is not reproducible across chunk sizes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'numpy==2.4.6'
"$work/venv/bin/python" - >"$work/seen" <<'EOF'
import numpy as np


def portions(draw, sizes):
    generator = np.random.default_rng(1)
    return np.concatenate([draw(generator, n) for n in sizes]).tolist()


draws = {
    f"integers, {dtype.__name__}": lambda g, n, dtype=dtype: g.integers(0, 2 if dtype is np.bool_ else 200, n, dtype=dtype)
    for dtype in (np.bool_, np.uint8, np.uint16, np.uint32, np.int64)
}
draws |= {"random": lambda g, n: g.random(n), "random, float32": lambda g, n: g.random(n, dtype=np.float32), "normal": lambda g, n: g.normal(size=n)}
for name, draw in draws.items():
    whole = portions(draw, [32])
    print(f"{name}: 16 + 16 same {portions(draw, [16, 16]) == whole}, 31 + 1 same {portions(draw, [31, 1]) == whole}, 1 by 1 same {portions(draw, [1] * 32) == whole}")
EOF
diff - "$work/seen" <<'EOF' || { echo "the behaviour has changed" >&2; exit 1; }
integers, bool: 16 + 16 same False, 31 + 1 same False, 1 by 1 same False
integers, uint8: 16 + 16 same True, 31 + 1 same False, 1 by 1 same False
integers, uint16: 16 + 16 same True, 31 + 1 same False, 1 by 1 same False
integers, uint32: 16 + 16 same True, 31 + 1 same True, 1 by 1 same True
integers, int64: 16 + 16 same True, 31 + 1 same True, 1 by 1 same True
random: 16 + 16 same True, 31 + 1 same True, 1 by 1 same True
random, float32: 16 + 16 same True, 31 + 1 same True, 1 by 1 same True
normal: 16 + 16 same True, 31 + 1 same True, 1 by 1 same True
EOF
echo "as described"
