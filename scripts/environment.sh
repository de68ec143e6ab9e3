#!/usr/bin/env bash
# Make or refresh the virtual environment: scripts/environment.sh FOLDER EXTRAS [PYTHON] [VERSIONS]
#
# Versions come from constraints.txt, or, where VERSIONS is "lowest", are the oldest that pyproject.toml
# allows of each library it names; only uv can find those. uv installs, since it is quick; where uv cannot be
# had, or fails, pip does the same. FOLDER/.finished is the last thing written: an environment without it,
# whose making was interrupted, is made again from nothing.
set -euo pipefail
trap 'exit 130' INT TERM  # uv, interrupted, exits as if it had failed, and pip would then take over
cd "$(dirname "$0")/.."

venv=$1 extras=$2 python=${3:-} versions=${4:-constraints.txt}
finished="$venv/.finished"

say() { printf '%s\n' "$*" >&2; }

fits() { "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' >/dev/null 2>&1; }

choose_python() {
    if [ -n "$python" ]; then
        if ! command -v "$python" >/dev/null 2>&1; then
            say "PYTHON is '$python', and no such command was found. Give the path of a Python 3.11, 3.12 or 3.13."
            exit 1
        fi
        if ! fits "$python"; then
            say "pyro_dgm needs Python 3.11, 3.12 or 3.13, but '$python' is $("$python" --version 2>&1 | tail -n 1)."
            exit 1
        fi
        return
    fi
    for python in python3 python3.13 python3.12 python3.11 python; do
        if fits "$python"; then return; fi
    done
    say "pyro_dgm needs Python 3.11, 3.12 or 3.13, but none was found: python3 is $(python3 --version 2>&1 | tail -n 1)."
    say "Install one, or name it: make PYTHON=/path/to/python3.12 ..."
    exit 1
}

create() {
    choose_python
    if ! "$python" -c 'import venv, ensurepip' >/dev/null 2>&1; then
        version=$(version_of "$python")
        say "$python cannot make virtual environments: its modules venv and ensurepip are missing."
        say "On Debian and Ubuntu they come with: apt-get install python${version%.*}-venv"
        exit 1
    fi
    say "Making $venv with $("$python" --version 2>&1)."
    "$python" -m venv --clear "$venv"
}

# uv does not read pip's settings: hand it the ones that say where packages come from.
borrow_settings_of_pip() {
    local index
    index=$("$venv/bin/python" -m pip config get :env:.index-url 2>/dev/null ||
        "$venv/bin/python" -m pip config get install.index-url 2>/dev/null ||
        "$venv/bin/python" -m pip config get global.index-url 2>/dev/null || true)
    if [ -n "$index" ] && [ -z "${UV_DEFAULT_INDEX:-}${UV_INDEX_URL:-}" ]; then export UV_DEFAULT_INDEX="$index"; fi
    if [ -n "${PIP_CERT:-}" ] && [ -z "${SSL_CERT_FILE:-}" ]; then export SSL_CERT_FILE="$PIP_CERT"; fi
    export UV_HTTP_TIMEOUT="${UV_HTTP_TIMEOUT:-300}"
}

install_with_uv() {
    local quiet=()
    [ -t 2 ] || quiet=(--quiet)
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -c constraints.txt uv || return 1
    borrow_settings_of_pip
    local which=(--constraints constraints.txt)
    [ "$versions" != lowest ] || which=(--resolution lowest-direct)
    "$venv/bin/python" -m uv pip install ${quiet[@]+"${quiet[@]}"} --python "$venv/bin/python" \
        "${which[@]}" --build-constraints constraints.txt -e "$1"
}

install_with_pip() {
    PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt \
        "$venv/bin/python" -m pip install --disable-pip-version-check -e "$1"
}

version_of() { "$1" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null; }

# Whole, newer than what it was made from, and of the Python that was asked for.
is_current() {
    local source
    for source in pyproject.toml constraints.txt scripts/environment.sh; do
        [ "$finished" -nt "$source" ] || return 1
    done
    is_of_python
}
is_of_python() { [ -z "$python" ] || [ "$(version_of "$venv/bin/python")" = "$(version_of "$python")" ]; }

# A second make in the same checkout waits here for the first one, and then finds nothing left to do.
if command -v flock >/dev/null 2>&1; then
    exec 9<constraints.txt
    flock 9
fi
if [ -n "$python" ]; then choose_python; fi
if is_current; then exit 0; fi
if [ ! -e "$finished" ] || ! is_of_python || ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then create; fi
rm -f "$finished"
project=".${extras:+[$extras]}"
say "Installing $project into $venv; the first time on a machine this fetches some gigabytes and takes minutes."
if ! install_with_uv "$project"; then
    if [ "$versions" = lowest ]; then
        say "uv could not install the lowest versions: the lines above say why."
        exit 1
    fi
    say "uv could not install it; trying the same with pip, which is slower."
    install_with_pip "$project" || {
        say "pip could not install it either: the lines above say why. Is the package index in reach?"
        exit 1
    }
fi
touch "$finished"
