# The virtual environment is made when a target needs it, and brought up to date when pyproject.toml or
# constraints.txt change. Nothing is needed beyond Debian's python3, python3-venv and make.

PYTHON ?= /usr/bin/python3
VENV := .venv
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

# The PAM module: `make module BUILD=DIR CFLAGS=...` builds it elsewhere or with more flags.
BUILD := build
MODULE := pam_helper/module
MODULE_CFLAGS := -std=c11 -D_GNU_SOURCE -O2 -g -fPIC -fvisibility=hidden -Wall -Wextra -Werror \
	-fstack-protector-strong -D_FORTIFY_SOURCE=2
MODULE_LDFLAGS := -shared -Wl,-z,relro,-z,now

# The load generator of the benchmarks.
LOAD := benchmarks/load
LOAD_CFLAGS := -std=c11 -D_GNU_SOURCE -O2 -g -Wall -Wextra -Werror

# make install and make uninstall, as root: contrib/install.sh says what each of these does.
PAM_MODULE ?= $(BUILD)/pam_twofold.so
INSTALL_SETTINGS = PYTHON='$(PYTHON)' PAM_MODULE='$(PAM_MODULE)' PREFIX='$(PREFIX)' DESTDIR='$(DESTDIR)' PURGE='$(PURGE)' WITH='$(WITH)'

.DEFAULT_GOAL := help
.PHONY: help run demo-serve test check bench load gateways module install uninstall clean
.DELETE_ON_ERROR:

help: ## this text
	@echo "usage: make TARGET [PYTHON=/usr/bin/python3] [ARGS=...]"
	@echo
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1|\2/p' $(firstword $(MAKEFILE_LIST)) | awk -F '|' '{ printf "%-12s %s\n", $$1, $$2 }'

run: $(VENV)/product-installed ## the demo: a throw-away server and a real login against it
	@$(BIN)/twofold demo $(ARGS)

demo-serve: $(VENV)/product-installed ## the demo, kept running to try it with your own phone
	@$(BIN)/twofold demo --serve $(ARGS)

# Many tests wait, so files are shared out among processes: each file runs in one, in its order. Files start in the order
# of their folders, because the short ones then come last and no process is left alone at the end.
SHARED_OUT := -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

test: $(VENV)/dev-installed ## all tests; ARGS="-k totp" passes arguments to pytest, "-n0" keeps to one process
	$(BIN)/python -m pytest $(SHARED_OUT) $(ARGS)

# Every file in gateways/ with a main() becomes one program, made of the standard library alone.
GATEWAY_PROGRAMS := $(patsubst gateways/%.py,build/twofold-%,$(shell grep -l '^def main' gateways/*.py))

gateways: $(GATEWAY_PROGRAMS) ## the programs for gateways, each one file to copy: build/twofold-openvpn, ...

build/twofold-%: gateways/%.py $(wildcard gateways/*.py radius_client/*.py)
	@rm -rf build/stage-$* && mkdir -p build/stage-$*
	@cp -r --parents gateways/*.py radius_client/*.py build/stage-$*
	@$(PYTHON) -m zipapp -p '/usr/bin/python3 -I' -m gateways.$*:main -o $@ build/stage-$*
	@rm -rf build/stage-$*
	@echo $@

check: $(VENV)/dev-installed ## lint, format, types and import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/dev-installed $(BUILD)/load $(BUILD)/pam_twofold.so ## what logins cost beside other servers and modules, as root; ARGS="logins --only passcodes" chooses
	@$(BIN)/python -m benchmarks $(ARGS)

load: $(BUILD)/load ## the load generator of the benchmarks, with cc alone: build/load

module: $(BUILD)/pam_twofold.so ## the PAM module, with cc and libpam0g-dev alone

install: $(PAM_MODULE) ## as root: into PREFIX=/opt/twofold, below DESTDIR if it is set, WITH=postgresql its driver, too; again: an upgrade
	@$(INSTALL_SETTINGS) contrib/install.sh install

uninstall: ## as root: take it out again; PURGE=1 removes configuration, key and store, too
	@$(INSTALL_SETTINGS) contrib/install.sh uninstall

clean: ## remove the virtual environment and everything else that was made
	rm -rf $(VENV) build dist .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BUILD)/pam_twofold.so: $(wildcard $(MODULE)/*.c $(MODULE)/*.h)
	@command -v $(firstword $(CC)) >/dev/null || { echo "make: $(CC) is missing: apt install gcc" >&2; exit 1; }
	@echo '#include <security/pam_modules.h>' | $(CC) -E -x c - >/dev/null 2>&1 || { echo "make: the headers of PAM are missing: apt install libpam0g-dev" >&2; exit 1; }
	@mkdir -p $(@D)
	$(CC) $(MODULE_CFLAGS) $(CPPFLAGS) $(CFLAGS) -o $@ $(filter %.c,$^) $(MODULE_LDFLAGS) $(LDFLAGS) -lpam

$(BUILD)/load: $(wildcard $(LOAD)/*.c $(LOAD)/*.h)
	@command -v $(firstword $(CC)) >/dev/null || { echo "make: $(CC) is missing: apt install gcc" >&2; exit 1; }
	@mkdir -p $(@D)
	$(CC) $(LOAD_CFLAGS) $(CPPFLAGS) $(CFLAGS) -o $@ $(filter %.c,$^) $(LDFLAGS) -lm

# ensurepip is what Debian ships in python3-venv alone; without it `python3 -m venv` leaves a broken directory.
$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { echo "make: $(PYTHON) is missing: apt install python3, or set PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "make: $(PYTHON) cannot make a virtual environment: apt install python3-venv" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "make: $(PYTHON) is older than Python 3.11" >&2; exit 1; }
	@echo "Making $(VENV) ..." >&2
	@$(PYTHON) -m venv $(VENV)

$(VENV)/product-installed: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing twofold into $(VENV) ..." >&2
	@$(PIP_INSTALL) -e .
	@touch $@

$(VENV)/dev-installed: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing twofold and its development tools into $(VENV) ..." >&2
	@$(PIP_INSTALL) -e '.[dev]'
	@touch $(VENV)/product-installed $@
