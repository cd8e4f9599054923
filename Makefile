# make demo: set up and talk to the agent.  make test: set up and run the tests.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# On Linux PyPI has a CUDA build of several GB; without a GPU: make TORCH='torch==2.13.0 --index-url=https://download.pytorch.org/whl/cpu'
TORCH ?= torch==2.13.0
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: demo schemathesis test lint format typing models lock bench mcp-servers oracles conformance clean
.DEFAULT_GOAL := demo

demo: $(VENV)/.local models
	$(BIN)/python examples/demo.py

test: $(VENV)/.dev $(VENV)/.step-audio $(VENV)/.oracles $(VENV)/.mcp $(VENV)/.chromium models typing
	$(BIN)/pytest

lint: $(VENV)/.dev $(VENV)/.step-audio typing
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

models: $(VENV)/.local
	$(BIN)/sayso models pull

bench: $(VENV)/.dev models
	$(BIN)/python -m benchmarks

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "sayso needs Python 3.11 or later")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.local: requirements/local.lock pyproject.toml setup.py | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements/local.lock
	$(BIN)/python -m pip install --quiet --no-deps -e .
	touch $@

$(VENV)/.dev: requirements/dev.lock $(VENV)/.local
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements/dev.lock
	touch $@

# torch is not in the lock: which build is right depends on the machine.
$(VENV)/.step-audio: requirements/step-audio.lock | $(VENV)/.dev
	$(BIN)/python -m pip install --quiet $(TORCH)
	$(BIN)/python -m pip install --quiet --require-hashes --no-deps -r requirements/step-audio.lock
	touch $@

oracles: $(VENV)/.oracles

# Public reference code that some tests compare with; those tests alone look into that folder. It asks for packages that
# nothing here needs, another torch among them: hence without dependencies.
$(VENV)/.oracles: requirements/oracles.lock | $(VENV)/bin/python
	rm -rf $(VENV)/oracles
	$(BIN)/python -m pip install --quiet --require-hashes --no-deps --target $(VENV)/oracles -r requirements/oracles.lock
	touch $@

# No answer of the server may be a 5xx or break its OpenAPI document.
schemathesis: $(VENV)/.dev $(VENV)/schemathesis/bin/schemathesis
	$(BIN)/python tests/openapi_run.py $(CURDIR)/$(VENV)/schemathesis/bin/schemathesis

$(VENV)/schemathesis/bin/schemathesis:
	$(PYTHON) -m venv $(VENV)/schemathesis
	$(VENV)/schemathesis/bin/pip install --quiet 'schemathesis>=4.32,<5'

mcp-servers: $(VENV)/.mcp

# The page is tested in a real browser; without one those tests are skipped.
$(VENV)/.chromium: | $(VENV)/bin/python
	command -v chromium || ! command -v apt-get || [ "$$(id -u)" != 0 ] || \
		(apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium)
	touch $@

# Servers of the Model Context Protocol that are not ours, for the tests; without npm those tests are skipped.
$(VENV)/.mcp: tests/mcp_servers/package.json tests/mcp_servers/requirements.txt | $(VENV)/bin/python
	mkdir -p $(VENV)/mcp
	cp tests/mcp_servers/package.json $(VENV)/mcp/
	! command -v npm || npm install --prefix $(VENV)/mcp --no-audit --no-fund --loglevel=error
	$(PYTHON) -m venv $(VENV)/mcp/py
	$(VENV)/mcp/py/bin/pip install --quiet -r tests/mcp_servers/requirements.txt
	touch $@

# Other people's clients, each in an environment of its own, against a server of ours; Node's need npm.
CLIENTS := $(notdir $(patsubst %/,%,$(dir $(wildcard tests/conformance_clients/*/client.*))))

conformance: $(VENV)/.dev models $(CLIENTS:%=$(VENV)/conformance/%/.installed)
	$(BIN)/python tests/conformance_clients/run.py --write

.SECONDEXPANSION:
$(VENV)/conformance/%/.installed: $$(wildcard tests/conformance_clients/$$*/package.json tests/conformance_clients/$$*/requirements.txt)
	rm -rf $(@D)
	mkdir -p $(@D)
	if [ -e tests/conformance_clients/$*/package.json ]; then \
		cp tests/conformance_clients/$*/package.json $(@D)/ && npm install --prefix $(@D) --no-audit --no-fund --loglevel=error; \
	else \
		$(PYTHON) -m venv $(@D) && $(@D)/bin/python -m pip install --quiet -r tests/conformance_clients/$*/requirements.txt; \
	fi
	touch $@

# Type checkers and editors follow these links, since the folders are not named as the package.
typing:
	@mkdir -p typelinks/sayso
	@find typelinks/sayso -type l -delete
	@cd typelinks/sayso && for entry in ../../agent/*; do ln -s "$$entry" .; done
	@cd typelinks/sayso && for folder in tools prompts evals; do [ ! -d ../../$$folder ] || ln -s ../../$$folder $$folder; done

NO_TORCH := $(addprefix --no-emit-package=,torch triton cuda-bindings cuda-pathfinder cuda-toolkit nvidia-cublas nvidia-cuda-cccl nvidia-cuda-cupti \
	nvidia-cuda-nvrtc nvidia-cuda-runtime nvidia-cudnn-cu13 nvidia-cufft nvidia-cufile nvidia-curand nvidia-cusolver nvidia-cusparse \
	nvidia-cusparselt-cu13 nvidia-nccl-cu13 nvidia-nvjitlink nvidia-nvshmem-cu13 nvidia-nvtx)

# Pin exact versions of what pyproject.toml asks for.
lock: | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile pyproject.toml --extra local --extra chinese --universal --generate-hashes --no-header --no-emit-index-url -q -o requirements/local.lock
	$(BIN)/uv pip compile pyproject.toml --extra local --extra chinese --extra piper --extra documents --extra mcp --extra units --extra web --extra server --extra rtc --extra evals --extra dev --universal --generate-hashes --no-header --no-emit-index-url -q -c requirements/local.lock -o requirements/dev.lock
	$(BIN)/uv pip compile pyproject.toml --extra step-audio --universal --generate-hashes --no-header --no-emit-index-url -q -c requirements/dev.lock $(NO_TORCH) -o requirements/step-audio.lock
	$(BIN)/uv pip compile requirements/oracles.in --no-deps --universal --generate-hashes --no-header --no-annotate --no-emit-index-url -q -o requirements/oracles.lock

clean:
	rm -rf $(VENV) typelinks out build *.egg-info
