#!/usr/bin/env bash
# The test command: bash tests/run.sh [arguments for pytest]
#
# Enough on a fresh machine with Python 3.11 or newer. Uses the active virtual environment, or makes
# .venv; installs what the project and its tests need; then format, lint, tests and types. The
# browser tests use $GROUPCAM_CHROMIUM, or a Chromium or Chrome found here, or one installed here.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

heading() { printf '\n== %s\n' "$1"; }
fail() { printf 'error: %s\n' "$1" >&2; exit 1; }
is_suitable() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }
can_use_apt() { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; }

apt_install() {
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

# The first suitable Python: the machine's own python3, then the newest named one.
find_python() {
    local name
    for name in python3 python3.14 python3.13 python3.12 python3.11; do
        if is_suitable "$name"; then echo "$name"; return; fi
    done
    return 1
}

find_chromium() {
    local name
    for name in "${GROUPCAM_CHROMIUM:-}" chromium chromium-browser google-chrome \
        "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome" \
        "/Applications/Chromium.app/Contents/MacOS/Chromium"; do
        # Ubuntu's chromium-browser may be an empty stub that only points at snap: ask it to answer.
        if [ -n "$name" ] && "$name" --version >/dev/null 2>&1; then command -v "$name"; return; fi
    done
    return 1
}

heading "Python"
if [ -n "${VIRTUAL_ENV:-}" ]; then
    python="$VIRTUAL_ENV/bin/python"
    is_suitable "$python" || fail "the active virtual environment needs Python 3.11 or newer."
else
    python=".venv/bin/python"
    if ! is_suitable "$python"; then
        base=$(find_python) || fail "Python 3.11 or newer is needed; none was found on PATH."
        "$base" -m venv --clear .venv
    fi
fi
"$python" --version

heading "Packages"
"$python" -m pip install --quiet --disable-pip-version-check \
    -r requirements.txt -r tests/requirements.txt
"$python" -m pip check
if ! "$python" -c 'import cv2' 2>/dev/null && can_use_apt; then
    # shellcheck disable=SC2046 # one package a line
    apt_install $(cat packages.txt)
fi
"$python" -c 'import cv2' || fail "OpenCV does not load; the system needs: $(xargs <packages.txt)."

heading "Chromium"
if ! find_chromium >/dev/null && can_use_apt && grep -q '^ID=debian' /etc/os-release; then
    apt_install chromium
fi
if chromium=$(find_chromium); then
    export GROUPCAM_CHROMIUM="$chromium"
    "$chromium" --version 2>/dev/null
else
    unset GROUPCAM_CHROMIUM # the tests then start the one that Playwright keeps
    if can_use_apt; then with_deps=--with-deps; else with_deps=; fi
    "$python" -m playwright install $with_deps chromium ||
        fail "no Chromium found or installed; set GROUPCAM_CHROMIUM to the path of one."
fi

heading "Format"
"$python" -m ruff format --check .

heading "Lint"
"$python" -m ruff check .

# Beside the tests, so that no core rests; what it says comes after them.
types=$(mktemp)
trap 'rm -f "$types"' EXIT
"$python" -m mypy >"$types" 2>&1 &
mypy=$!

heading "Tests"
# Each worker gets whole files, which share the app and the networks that they start.
failed=0
OMP_NUM_THREADS=1 "$python" -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile "$@" ||
    failed=1

heading "Types"
wait "$mypy" || failed=1
cat "$types"
exit "$failed"
