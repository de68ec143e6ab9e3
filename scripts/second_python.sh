#!/usr/bin/env bash
# Run the fast tests on a second Python, 3.12 or 3.13, where ArviZ is 1.x: scripts/second_python.sh MAKE
#
# Fails, rather than skips, where there is no such Python.
set -euo pipefail
cd "$(dirname "$0")/.."
make=$1

python=$(bash scripts/find_python.sh 3.13 || bash scripts/find_python.sh 3.12) || {
    printf 'No Python 3.13 or 3.12 was found, on which ArviZ is 1.x. Put python3.13 or python3.12 on the PATH.\n' >&2
    exit 1
}
printf 'The second Python is %s.\n' "$python"
"$make" --no-print-directory test VENV=.venv-arviz PYTHON="$python"
