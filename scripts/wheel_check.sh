#!/usr/bin/env bash
# Build the sdist and from it the wheel, install that into an empty environment outside the checkout, and use
# it there: scripts/wheel_check.sh BIN, where BIN is the folder of an environment that has build.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=$1
root=$PWD
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
export PIP_CONSTRAINT="$root/constraints.txt" PIP_BUILD_CONSTRAINT="$root/constraints.txt"

"$bin/python" -m build --outdir "$place/dist" . >"$place/build.log" 2>&1 || { tail -n 40 "$place/build.log"; exit 1; }
wheel=$(ls "$place"/dist/*.whl)

"$bin/python" -m venv "$place/venv"
if "$bin/python" -m uv --version >/dev/null 2>&1; then
    "$bin/python" -m uv pip install --quiet --python "$place/venv/bin/python" -c constraints.txt "$wheel" ||
        "$place/venv/bin/python" -m pip install --quiet "$wheel"
else
    "$place/venv/bin/python" -m pip install --quiet "$wheel"
fi

cd "$place"
"$place/venv/bin/python" "$root/scripts/check_installed.py" "$root"
"$place/venv/bin/pyro-dgm" --help >"$place/help.txt"
grep -q tour "$place/help.txt"
printf 'The wheel %s installs and imports in an empty environment.\n' "$(basename "$wheel")"
