#!/usr/bin/env bash
# Everything that wants a GPU, in one go: build, tests, compute-sanitizer, benchmarks.
#
#   bench/gpu.sh [IMAGE …]
#
# Wants nvcc, cmake, ninja, pybind11, torch and, without a network, a folder of wheels of whatever
# else is missing, named by WHEELS. PYTHON is the interpreter, OUT the folder for gpu.json and the logs
# (build/gpu). A step that fails does not keep the others from running; the last lines say which did.
set -uo pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python3}
OUT=${OUT:-build/gpu}
mkdir -p "$OUT"
summary=()
failed=0

step() {  # step NAME SECONDS COMMAND…
  local name=$1 limit=$2 start=$SECONDS
  shift 2
  echo "== $name"
  local status=0
  # In a shell of its own: a command may be a function.
  timeout "$limit" bash -c '"$@"' step "$@" >"$OUT/$name.log" 2>&1 || status=$?
  if [ "$status" = 0 ]; then
    summary+=("$name: ok, $((SECONDS - start)) s")
  else
    summary+=("$name: FAILED with status $status, $((SECONDS - start)) s, see $OUT/$name.log")
    failed=1
  fi
  tail -n "${LINES_SHOWN:-15}" "$OUT/$name.log"
}

build() {
  local wheels=()
  [ -n "$WHEELS" ] && wheels=(--no-index --find-links "$WHEELS")
  # Keeps the torch that is there: it is the one for this GPU.
  "$PYTHON" -m pip install "${wheels[@]}" pytorch-msssim constriction pillow av decord pytest hypothesis \
    bjontegaard matplotlib
  TCNN_CODEC_CUDA=ON "$PYTHON" -m pip install --no-build-isolation --no-deps -e .
}

SMALL='gpu and (thin-3 or one-pixel or video-one-frame or odd-17)'
sanitize() {
  compute-sanitizer --tool "$1" --error-exitcode 1 "$PYTHON" -m pytest tests/test_cuda_backend.py \
    -p no:cacheprovider -k "$SMALL and not fifty"
}

export -f build sanitize
export PYTHON SMALL
export WHEELS=${WHEELS:-}
step build 300 build
step doctor 30 "$PYTHON" -m tcnn_codec doctor
export TCNN_CODEC_REQUIRE=cuda
step kernels 120 "$PYTHON" -m pytest tests/test_cuda_backend.py -k gpu
LINES_SHOWN=60 step bench 240 "$PYTHON" bench/gpu.py "$@" --json "$OUT/gpu.json"
step memcheck 120 sanitize memcheck
step racecheck 120 sanitize racecheck
step tests 240 "$PYTHON" -m pytest
printf '\n'
printf '%s\n' "${summary[@]}"
exit "$failed"
