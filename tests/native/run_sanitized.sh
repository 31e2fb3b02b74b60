#!/usr/bin/env bash
# Builds the native module with sanitizers in a temporary copy and runs its tests there:
#   tests/native/run_sanitized.sh                      address and undefined behaviour
#   tests/native/run_sanitized.sh thread               data races (on the std::thread pool)
# Further arguments go to pytest. Needs g++, pytest, hypothesis and a working build environment.
set -euo pipefail
kind=${1:-address,undefined}
shift || true
here=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp -r "$here"/{csrc,pydiff,tests,setup.py,pyproject.toml} "$work"
cd "$work"
find pydiff -name '*.so' -delete
PYDIFF_SANITIZE=$kind ${PYTHON:-python} setup.py -q build_ext --inplace

# glibc hands the thread-local storage of a finished thread to the next one behind TSan's back.
echo 'race:_dl_deallocate_tls' > tsan.supp
library=asan
[ "$kind" != thread ] || library=tsan
LD_PRELOAD="$(g++ -print-file-name=lib$library.so) $(g++ -print-file-name=libstdc++.so)" \
  ASAN_OPTIONS=detect_leaks=0 TSAN_OPTIONS=suppressions=$work/tsan.supp:die_after_fork=0:report_signal_unsafe=0 \
  UBSAN_OPTIONS=print_stacktrace=1 \
  PYTHONMALLOC=malloc ${PYTHON:-python} -m pytest -q -p no:cacheprovider tests/native "$@"
