# Every target makes .venv first if it is absent: a virtual environment with the pinned
# dependencies and the native module built from csrc/.
PYTHON ?= python3
BIN := .venv/bin
NATIVE := CMakeLists.txt setup.py $(shell find csrc -type f)

# Of each fuzz target.
FUZZ_SECONDS ?= 30

.PHONY: help demo test lint bench fuzz cuda doctor clean
.DEFAULT_GOAL := help

help:  ## list the targets
	@sed -n 's/^\([a-z]*\): .*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

.venv/installed: pyproject.toml constraints.txt $(NATIVE)
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv || { rm -rf .venv; \
	  echo "error: $(PYTHON) cannot make a virtual environment; it needs Python 3.11 or newer with venv (Debian: apt install python3-venv python3-dev)"; exit 1; }
	$(BIN)/python -m pip install --quiet --upgrade -c constraints.txt pip
	PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet -c constraints.txt --build-constraint constraints.txt -e '.[dev]'
	@touch $@

demo: .venv/installed  ## encode and decode a photograph, compare with JPEG and WebP
	$(BIN)/python demo/run.py

test: .venv/installed  ## run the whole test suite
	$(BIN)/python -m pytest

lint: .venv/installed  ## ruff, mypy --strict, clang-format, and the compiler's warnings as errors
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/clang-format --dry-run --Werror $$(find csrc fuzz tests/cuda tests/integer -name '*.h' -o -name '*.cpp' -o -name '*.cu' -o -name '*.cuh' -o -name '*.inl')
	$(BIN)/cmake -S . -B build/lint -G Ninja -DTCNN_CODEC_WERROR=ON --log-level=WARNING \
	  -DCMAKE_MAKE_PROGRAM=$(abspath $(BIN)/ninja) -DPython_EXECUTABLE=$(abspath $(BIN)/python) \
	  -Dpybind11_DIR=$$($(BIN)/python -m pybind11 --cmakedir)
	$(BIN)/cmake --build build/lint

bench: .venv/installed  ## the benchmarks that compare times, in their quick form
	$(BIN)/python bench/kernels.py --quick --json build/kernels.json
	$(BIN)/python bench/encode_time.py demo/photo.png --quick --json build/encode_time.json --plot build/encode_time.png
	$(BIN)/python bench/compare.py bench/results/kernels.json build/kernels.json

fuzz: .venv/installed  ## run each fuzz target with sanitizers for FUZZ_SECONDS, which needs clang
	$(BIN)/python fuzz/run.py --seconds $(FUZZ_SECONDS)

cuda: .venv/installed  ## compile the CUDA kernels for every GPU, which needs nvcc; none may spill
	$(BIN)/python tests/cuda/compile.py

doctor: .venv/installed  ## what this machine and installation can do
	$(BIN)/python -m tcnn_codec doctor

clean:  ## remove everything that was built or installed here
	rm -rf .venv build out *.egg-info tcnn_codec/*.so
