#!/usr/bin/env bash
# Everything that wants a GPU, in one go: build, tests, compute-sanitizer, benchmarks.
#
#   bench/gpu.sh [IMAGE …]
#
# STEPS names some of the steps below, where not all are wanted; BENCH_SECONDS is the benchmarks' limit.
# Wants nvcc, cmake, ninja, pybind11, torch and, without a network, a folder of wheels of whatever
# else is missing, named by WHEELS: all of them are installed, and nothing else. PYTHON is the interpreter, OUT the folder for gpu.json and the logs
# (build/gpu). A step that fails does not keep the others from running; the last lines say which did.
set -uo pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python3}
OUT=${OUT:-build/gpu}
STEPS=${STEPS:-build doctor kernels bench memcheck racecheck}
mkdir -p "$OUT"
summary=()
failed=0

step() {  # step NAME SECONDS COMMAND…
  local name=$1 limit=$2 start=$SECONDS
  shift 2
  [[ " $STEPS " = *" $name "* ]] || return
  echo "== $name"
  local status=0
  # In a shell of its own: a command may be a function.
  timeout -k 5 "$limit" bash -c '"$@"' step "$@" >"$OUT/$name.log" 2>&1 || status=$?
  if [ "$status" = 0 ]; then
    summary+=("$name: ok, $((SECONDS - start)) s")
  else
    summary+=("$name: FAILED with status $status, $((SECONDS - start)) s, see $OUT/$name.log")
    failed=1
  fi
  tail -n "${LINES_SHOWN:-15}" "$OUT/$name.log"
}

build() {
  # Keeps the torch that is there: it is the one for this GPU.
  if [ -n "$WHEELS" ]; then
    "$PYTHON" -m pip install --no-index --no-deps "$WHEELS"/*.whl || return
  else
    "$PYTHON" -m pip install pytorch-msssim pillow pillow-heif av decord pytest hypothesis \
      bjontegaard matplotlib || return
  fi
  TCNN_CODEC_CUDA=ON "$PYTHON" -m pip install --no-build-isolation --no-deps -e .
}

SMALL='gpu and (thin-3 or one-pixel or odd-17 or odd-97 or five-69) and not fifty'
sanitize() {
  # Not through torch's cache, in which an overrun would go unseen.
  PYTORCH_NO_CUDA_MEMORY_CACHING=1 compute-sanitizer --tool "$1" --report-api-errors no \
    --error-exitcode 1 "$PYTHON" -m pytest tests/test_cuda_backend.py tests/test_cuda_integer.py \
    -p no:cacheprovider -k "$SMALL"
}

export -f build sanitize
export PYTHON SMALL
export WHEELS=${WHEELS:-}
step build 160 build
step doctor 30 "$PYTHON" -m tcnn_codec doctor
export TCNN_CODEC_REQUIRE=cuda
step kernels 120 "$PYTHON" -m pytest tests/test_cuda_backend.py tests/test_cuda_integer.py -k gpu
LINES_SHOWN=80 step bench "${BENCH_SECONDS:-180}" "$PYTHON" bench/gpu.py "$@" --json "$OUT/gpu.json"
step memcheck 60 sanitize memcheck
step racecheck 60 sanitize racecheck
# Only where it is named: ten minutes hold what stands above.
step tests 400 "$PYTHON" -m pytest
printf '\n'
printf '%s\n' "${summary[@]}"
exit "$failed"
