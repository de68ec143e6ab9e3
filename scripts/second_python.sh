#!/usr/bin/env bash
# Run the fast tests on a second Python, 3.12 or 3.13, where ArviZ is 1.x: scripts/second_python.sh MAKE
#
# Fails, rather than skips, where there is no such Python.
set -euo pipefail
cd "$(dirname "$0")/.."
make=$1

# The path of Python $1 if the command line "${@:2}" starts it.
path_of() { "${@:2}" -c "import sys; assert '%d.%d' % sys.version_info[:2] == '$1'; print(sys.executable)" 2>/dev/null; }

find_python() {
    local version
    for version in 3.13 3.12; do
        if path_of "$version" "python$version"; then return; fi
        if command -v pyenv >/dev/null 2>&1; then
            if path_of "$version" env PYENV_VERSION="$(pyenv latest "$version" 2>/dev/null)" "python$version"; then return; fi
        fi
        if .venv/bin/python -m uv --version >/dev/null 2>&1; then
            if path_of "$version" "$(.venv/bin/python -m uv python find --no-python-downloads "$version" 2>/dev/null)"; then return; fi
        fi
    done
    printf 'No Python 3.13 or 3.12 was found, on which ArviZ is 1.x. Put python3.13 or python3.12 on the PATH.\n' >&2
    return 1
}

python=$(find_python)
printf 'The second Python is %s.\n' "$python"
"$make" --no-print-directory test VENV=.venv-arviz PYTHON="$python"
