#!/usr/bin/env bash
# Run the fast tests in several environments, one after the other: scripts/matrix.sh MAKE [ENTRY...]
#
# An entry is a Python, 3.11, 3.12 or 3.13, with the versions of constraints.txt; or "lowest", the oldest
# Python with the oldest version of each library that pyproject.toml allows. All are run by default, each to
# its end whatever the others did, and each must be there: an entry without its Python has failed.
set -euo pipefail
cd "$(dirname "$0")/.."
make=$1
shift
[ $# -gt 0 ] || set -- 3.11 3.12 3.13 lowest

run() {
    local entry=$1 version=$1 python
    [ "$entry" != lowest ] || version=3.11
    python=$(bash scripts/find_python.sh "$version") || {
        printf 'No Python %s was found. Put python%s on the PATH, or leave %s out: make matrix MATRIX="..."\n' \
            "$version" "$version" "$entry" >&2
        return 1
    }
    printf '\n=== %s with %s\n' "$entry" "$python"
    local versions=constraints.txt args=${ARGS:-}
    if [ "$entry" = lowest ]; then
        # Old releases use what the newer libraries below them have deprecated since.
        versions=lowest args="-W ignore::DeprecationWarning $args"
    fi
    "$make" --no-print-directory test VENV=".venv-matrix-$entry" PYTHON="$python" VERSIONS="$versions" \
        ARGS="$args" </dev/null
}

failed=0 report=''
for entry in "$@"; do
    start=$SECONDS verdict=passed
    run "$entry" || { verdict=FAILED failed=1; }
    report+=$(printf '%-8s %s in %d s' "$entry" "$verdict" $((SECONDS - start)))$'\n'
done
printf '\n%s' "$report"
exit "$failed"
