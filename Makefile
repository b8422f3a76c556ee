# Two commands: `make run` serves a demonstration on loopback, `make test` runs the tests.
# Each sets up .venv by itself, and again when pyproject.toml or a compiled source has changed.

SHELL = /bin/bash
PYTHON ?= python3
PORT_DNS ?= 5300
PORT_PAGE ?= 8080
PORT_METRICS ?= 9153

# Of `make bench`: ROUNDS=1 SECONDS=1 NAMES=10000 takes a few minutes.
ROUNDS ?= 5
SECONDS ?= 2
NAMES ?= 1000000
THREADS ?= 1

# Debian's packages that tests/peers and tests/bench need; nothing else in the project needs them.
PEERS = age bind9 bind9-dnsutils chromium dnsdist dnsmasq-base dnsperf gnupg iproute2 knot knot-dnsutils minisign nsd \
	openssh-client openssl prometheus python3-seccomp systemd tinycdb unbound

# A file of tests stays with one process: what it sets up once is set up once.
SIDE_BY_SIDE = --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

BIN = .venv/bin
BUILT_FROM = pyproject.toml resolver/build_core.py $(wildcard resolver/service/host/*.c resolver/core/*.py resolver/core/*.pxd resolver/core/*.h)
# What the developer's set-up holds is enough to run.
RUN_SET_UP = $(if $(wildcard .venv/.developer),.venv/.developer,.venv/.user)

.PHONY: run test test-peers test-debian13 test-install coverage check bench peers

run: $(RUN_SET_UP)
	@$(BIN)/python -m resolver.cli.demonstration --dns-port $(PORT_DNS) --page-port $(PORT_PAGE) --metrics-port $(PORT_METRICS)

# Without its caches Python would compile the same sources at each start of a process, hundreds of times.
test test-peers coverage: export PYTHONDONTWRITEBYTECODE =

test: .venv/.developer
	$(BIN)/python -m pytest $(SIDE_BY_SIDE)

test-peers: .venv/.developer peers
	$(BIN)/python -m pytest -m peers $(SIDE_BY_SIDE)

# Fails if the unit test of a module does not cover that module.
coverage: .venv/.developer
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) --own-coverage tests/unit

# In a tree of its own: this Debian's .venv is not touched.
test-debian13:
	.ci/debian13

# Types the printed install on a bare Debian 12 that systemd has booted; root only.
test-install:
	.ci/install_debian12

check: .venv/.developer
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/codespell
	$(BIN)/python -m pytest -q tests/unit/test_imports.py tests/unit/test_mirror.py tests/unit/test_private_names.py tests/unit/test_words.py

bench: PEERS += knot-resolver pdns-recursor
bench: .venv/.developer peers
	$(BIN)/python -m tests.bench --rounds $(ROUNDS) --seconds $(SECONDS) --names $(NAMES) --threads $(THREADS) --out build/bench

# Asks apt only for what is missing, so that a second run needs neither root nor a network.
peers:
	@missing=$$(dpkg-query -W -f '$${Package} $${db:Status-Status}\n' $(PEERS) 2>/dev/null | sed -n 's/ installed$$//p' | \
		sort | comm -13 - <(printf '%s\n' $(PEERS) | sort)); \
	if [ -n "$$missing" ]; then \
		echo "installing Debian's" $$missing; \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $$missing; \
	fi

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$(PYTHON) is missing or older than 3.11: set PYTHON=" >&2; exit 1; }
	@$(PYTHON) -m venv .venv || { rm -rf .venv; echo "no venv; on Debian: apt-get install python3-venv" >&2; exit 1; }

.venv/.user: .venv/bin/python $(BUILT_FROM)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable .
	@touch $@

.venv/.developer: .venv/bin/python $(BUILT_FROM)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[test,check]'
	@touch $@
