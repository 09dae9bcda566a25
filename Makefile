# What people and CI run. Needs GNU make, cargo, python3; `make setup` gets ONNX Runtime.
#
# Invariant: what is built or downloaded lies in the target folder, what the demo and the study
# make in demo/ and study/, nothing elsewhere.

CARGO ?= cargo
PYTHON ?= python3
# cargo's own rule: CARGO_TARGET_DIR, relative to the folder it is started in.
TARGET := $(or $(CARGO_TARGET_DIR),target)
# Absolute, because tests and doc tests run in folders of their own. The shell's `cd` and not $(abspath), which
# takes a path with spaces apart.
RUNTIME = $$(mkdir -p "$$TARGET" && cd "$$TARGET" && pwd)/onnxruntime
FUZZ = $$(mkdir -p "$$TARGET/fuzz" && cd "$$TARGET/fuzz" && pwd)
# A folder of images for `make demo`.
IMAGES ?=
# Images for `make study`: the samples beside the checkout where they are, else those that the demo draws. A few of them
# make a figure that fits a screen.
STUDY := $(wildcard ../shared/images/consistency-decoder/gt*.png ../shared/images/kodak/*.png)
STUDY_FIGURE := $(wildcard ../shared/images/consistency-decoder/gt*.png)
# A folder of latents (.npy) for `make bench-read`; without one it makes some.
LATENTS ?=
# The encoder of `make bench-ingest`, and the folder it lies in, if that isn't the user's own.
ENCODER ?= tiny
MODELS ?=

export TARGET IMAGES LATENTS MODELS
export PYTHONDONTWRITEBYTECODE = 1
# Set before ONNX Runtime is loaded, this keeps its published builds from sending telemetry.
export ORT_DISABLE_TELEMETRY = 1

# `make crash`: how often the writer is killed, and the seed of the decisions.
ROUNDS ?= 200
SEED ?=

# `make fuzz`: how long each target runs.
SECONDS ?= 60
FUZZ_TARGETS := $(notdir $(basename $(wildcard fuzz/fuzz_targets/*.rs)))

# What `make test-aarch64` needs: rustup's target, gcc-aarch64-linux-gnu and qemu-user.
AARCH64 := aarch64-unknown-linux-gnu

.PHONY: help setup demo study rates test test-aarch64 test-browser crash fuzz check bench bench-peers bench-read bench-scale bench-ingest golden interop need-cargo need-python
.DEFAULT_GOAL := help

help:
	@echo 'make setup              get ONNX Runtime, a shared library, into $(TARGET)/onnxruntime'
	@echo 'make demo               put sample images, get them back, show both: demo/side-by-side.png'
	@echo 'make demo IMAGES=DIR    the same with your images'
	@echo 'make study              what decoders and codecs make of sample images: study/figure.png, report.html, table.csv'
	@echo 'make rates              bits per pixel against quality, latents beside JPEG, WebP and AVIF: docs/rates.svg (a quarter of an hour)'
	@echo 'make test-browser       the page of `compare` in a headless Chromium, where there is one'
	@echo 'make test               all tests: the library, the program, the examples, the installer'
	@echo 'make test-aarch64       stored latents decoded on another processor, under qemu: needs gcc-aarch64-linux-gnu, qemu-user'
	@echo 'make crash ROUNDS=200   kill a writer that often, and say what that hit; SEED=N decides as before'
	@echo 'make fuzz SECONDS=60    arbitrary bytes where the store reads its own, so long for each target'
	@echo 'make check              formatting, lints, documentation; no test is run'
	@echo 'make bench              how fast put and get are'
	@echo 'make bench-peers        latentdb beside redb, fjall, LMDB and plain files (5 GB of disk, ten minutes)'
	@echo 'make bench-read         reading latents back, beside .safetensors and .npz; LATENTS=DIR, PYTHON=one with NumPy'
	@echo 'make bench-scale        10,000 to 1,000,000 small records: opening, memory, listing, reading'
	@echo 'make bench-ingest       200 photographs into a store, beside the bare model and Python; ENCODER=NAME, MODELS=DIR, PYTHON=...'
	@echo 'make interop            exported latents read by numpy, safetensors and webdataset, and theirs imported'
	@echo 'make golden             graphs of full-size models beside torch: differences, seconds, memory (an hour, 10 GB of disk)'

setup: need-python
	@$(PYTHON) onnx/runtime/install.py "$$TARGET/onnxruntime"

demo: need-cargo setup
	@ORT_DYLIB_PATH="$(RUNTIME)" $(CARGO) run --locked --release --example demo -- $${IMAGES:+"$$IMAGES"}

study: need-cargo setup
	$(CARGO) build --locked --release
	@$(if $(STUDY),,$(MAKE) --no-print-directory demo IMAGES=)
	@mkdir -p study
	ORT_DYLIB_PATH="$(RUNTIME)" "$$TARGET/release/latentdb" compare --encoder tiny $(or $(STUDY),demo/samples/*.png) \
		-o study/report.html -o study/table.csv
	@ORT_DYLIB_PATH="$(RUNTIME)" "$$TARGET/release/latentdb" compare --encoder tiny $(or $(STUDY_FIGURE),demo/samples/*.png) \
		-o study/figure.png --zoom 88,48,96,72 >/dev/null

test-browser: need-cargo setup
	$(CARGO) build --locked --release
	ORT_DYLIB_PATH="$(RUNTIME)" $(PYTHON) tests/browser/report.py "$$TARGET/release/latentdb"

# The first weights of `tiny` are a model of their own here. The weights of TAEF2 come from beside the checkout; matplotlib, 30 MB,
# goes into a folder of its own.
rates: need-cargo setup
	$(CARGO) build --locked --release
	$(PYTHON) -m venv "$$TARGET/rates-venv"
	"$$TARGET/rates-venv/bin/python" -m pip install --quiet -r benches/rates/requirements.txt
	@rm -rf "$$TARGET/rates-models"
	"$$TARGET/release/latentdb" --models "$$TARGET/rates-models" model import ../shared/models/taef2 --name taef2 --latent-space flux2
	ORT_DYLIB_PATH="$(RUNTIME)" "$$TARGET/release/latentdb" --models "$$TARGET/rates-models" model add --name tiny-first \
		--latent-space tiny-1 --encoder onnx/tiny-1/encoder.onnx --decoder onnx/tiny-1/decoder.onnx --scaling-factor 1 --shift-factor 0
	ORT_DYLIB_PATH="$(RUNTIME)" "$$TARGET/rates-venv/bin/python" benches/rates/rates.py "$$TARGET/release/latentdb" \
		--images ../shared/images/kodak --models "$$TARGET/rates-models" --encoders tiny,tiny-first,taef2 --out docs/rates

# No float is on the way of decoding latents, and no width of an integer depends on the machine: this proves it.
test-aarch64: need-cargo
	rustup target add $(AARCH64)
	CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc CC_aarch64_unknown_linux_gnu=aarch64-linux-gnu-gcc \
		CXX_aarch64_unknown_linux_gnu=aarch64-linux-gnu-g++ \
		CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER='qemu-aarch64 -L /usr/aarch64-linux-gnu' \
		$(CARGO) test --locked --target $(AARCH64) --lib record::

test: need-cargo setup
	ORT_DYLIB_PATH="$(RUNTIME)" $(CARGO) test --locked --all-features --no-fail-fast --lib --bins --tests --examples
	ORT_DYLIB_PATH="$(RUNTIME)" $(CARGO) test --locked --all-features --doc
	ORT_DYLIB_PATH="$(RUNTIME)" $(CARGO) run --locked --all-features --example embed -- "$$TARGET/example-embed"
	$(PYTHON) -m unittest discover -s onnx/runtime -p 'test_*.py'

crash: need-cargo
	LATENTDB_CRASH_ROUNDS="$(ROUNDS)" $(if $(SEED),LATENTDB_CRASH_SEED="$(SEED)") \
		$(CARGO) test --locked --all-features --test crash -- --nocapture killed

# The seeds are real bytes; what fuzzing finds interesting is kept beside them. No sanitizer: the crate has no unsafe
# code, and what is looked for is a panic or an allocation that nothing justifies.
fuzz: need-cargo
	@$(CARGO) fuzz --version >/dev/null 2>&1 || { echo 'error: cargo-fuzz was not found: cargo install cargo-fuzz' >&2; exit 1; }
	@rustup run nightly rustc --version >/dev/null 2>&1 || { echo 'error: a nightly toolchain was not found: rustup toolchain install nightly' >&2; exit 1; }
	@fuzz="$(FUZZ)" && mkdir -p "$$fuzz/crashes" && export CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_OPT_LEVEL=1 && \
	$(CARGO) run --locked -p latentdb-fuzz --example seeds -- "$$fuzz/corpus" && \
	cd fuzz && $(CARGO) +nightly fuzz build --sanitizer none --target-dir "$$fuzz/build" && \
	for target in $(FUZZ_TARGETS); do \
		$(CARGO) +nightly fuzz run --sanitizer none --target-dir "$$fuzz/build" $$target "$$fuzz/corpus/$$target" -- \
			-max_total_time=$(SECONDS) -max_len=65536 -rss_limit_mb=4096 -timeout=20 -print_final_stats=1 \
			-artifact_prefix="$$fuzz/crashes/$$target-" >"$$fuzz/$$target.log" 2>&1 || { \
				tail -n 40 "$$fuzz/$$target.log" >&2; \
				echo "error: $$target: the bytes that did this are in $$fuzz/crashes" >&2; \
				exit 1; \
			}; \
		executions=$$(sed -n 's/^stat::number_of_executed_units: *//p' "$$fuzz/$$target.log"); \
		printf '%-16s %s executions\n' $$target "$$executions"; \
	done

check: need-cargo
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --all-targets --all-features -- -D warnings
	$(CARGO) clippy --locked --no-default-features --lib -- -D warnings
	$(CARGO) clippy --locked -p latentdb-fuzz --no-default-features --all-targets -- -D warnings
ifeq ($(shell uname),Linux)
	$(CARGO) clippy --locked -p latentdb-peers --all-targets -- -D warnings
endif
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --locked --all-features --no-deps

bench: need-cargo setup
	ORT_DYLIB_PATH="$(RUNTIME)" $(CARGO) bench --locked

# Linux only, as they read /proc. docs/benchmarks.md says what each of them measures.
bench-peers: need-cargo
	$(CARGO) run --locked --release -p latentdb-peers --bin peers -- --rounds 3 --folder "$$TARGET/bench-peers"

bench-read: need-cargo
	$(CARGO) build --locked --release -p latentdb-peers --bin read_latents
	taskset -c 0 "$$TARGET/release/read_latents" --python "$(PYTHON)" $${LATENTS:+--latents "$$LATENTS"} --folder "$$TARGET/bench-read"

bench-scale: need-cargo
	$(CARGO) run --locked --release -p latentdb-peers --bin scale -- --folder "$$TARGET/bench-scale"

bench-ingest: need-cargo setup
	ORT_DYLIB_PATH="$(RUNTIME)" $(CARGO) run --locked --release -p latentdb-peers --bin ingest -- --python "$(PYTHON)" \
		--encoder "$(ENCODER)" $${MODELS:+--models "$$MODELS"} --folder "$$TARGET/bench-ingest"

golden: need-cargo setup
	$(CARGO) build --locked --release
	$(PYTHON) -m venv "$$TARGET/golden-venv"
	"$$TARGET/golden-venv/bin/python" -m pip install --quiet -r onnx/golden/requirements.txt
	"$$TARGET/golden-venv/bin/python" onnx/golden/checker.py "$$TARGET/release/latentdb"
	"$$TARGET/golden-venv/bin/python" -m unittest discover -s onnx/tools
	ORT_DYLIB_PATH="$(RUNTIME)" "$$TARGET/golden-venv/bin/python" onnx/golden/full.py --latentdb "$$TARGET/release/latentdb" --work "$$TARGET/golden-full"
	ORT_DYLIB_PATH="$(RUNTIME)" "$$TARGET/golden-venv/bin/python" onnx/golden/full_consistency.py --latentdb "$$TARGET/release/latentdb" --work "$$TARGET/golden-full"

# 20 MB of packages into a folder of its own: numpy, safetensors and webdataset.
interop: need-cargo need-python
	$(CARGO) build --locked --release
	$(PYTHON) -m venv "$$TARGET/interop-venv"
	"$$TARGET/interop-venv/bin/python" -m pip install --quiet -r tests/interop/requirements.txt
	"$$TARGET/interop-venv/bin/python" tests/interop/check.py "$$TARGET/release/latentdb" "$$TARGET/interop"

need-cargo:
	@command -v $(CARGO) >/dev/null || { echo 'error: cargo was not found: https://rustup.rs installs it' >&2; exit 1; }

need-python:
	@command -v $(PYTHON) >/dev/null || { echo 'error: python3 was not found: it gets ONNX Runtime (Python 3.8 or newer)' >&2; exit 1; }
