#!/usr/bin/env bash
# Print the path of a Python of version X.Y, or fail in silence: scripts/find_python.sh X.Y
set -euo pipefail
cd "$(dirname "$0")/.."
version=$1

# The path of the Python that a command line starts, if it is of the version.
path_of() { "$@" -c "import sys; assert '%d.%d' % sys.version_info[:2] == '$version'; print(sys.executable)" 2>/dev/null; }

if path_of "python$version" || path_of python3; then exit; fi
if command -v pyenv >/dev/null 2>&1; then
    if path_of env PYENV_VERSION="$(pyenv latest "$version" 2>/dev/null)" "python$version"; then exit; fi
fi
if .venv/bin/python -m uv --version >/dev/null 2>&1; then
    if path_of "$(.venv/bin/python -m uv python find --no-python-downloads "$version" 2>/dev/null)"; then exit; fi
fi
exit 1
