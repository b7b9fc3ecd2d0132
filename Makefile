# Every target sets up first what is missing; set-up is quick when nothing is.
SHELL := /bin/sh
.DEFAULT_GOAL := help
PYTHON := .venv/bin/python
# two cores; tests that share what they build or boot are a group, which stays with one worker
PYTEST := $(PYTHON) -m pytest -n 2 --dist loadgroup
# gates that pytest selects by marker; each is runnable alone
GATES := image-test boot-test hetzner-run gicv3-test virtio-pci-test h3-ramdisk-test h5-acpi-test hardware-map-test \
	session-test block-test verity-test fuzz-test data-persist-test datafs-test datafs-fsync-test datafs-sqlite-test \
	powercut-test watchdog-test health-test release-test rollback-test update-powercut-test \
	stability-coverage-test

help: ## what there is to make
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-20s %s\n", $$1, $$2}' Makefile
	@echo; echo "gates, each also part of make test:"; for gate in $(GATES); do echo "  make $$gate"; done

setup: ## install what is missing (packages with root or sudo; a Python environment in .venv)
	@sh pipeline/bootstrap.sh

image: setup ## build the disk image for a Hetzner Arm machine, say how to boot it
	@./swiftbuild image --profile hetzner

images: setup
	@./swiftbuild -q image --profile qemu
	@./swiftbuild -q image --profile hetzner
	@./swiftbuild -q image --profile qemu --with sqlite3
	@./swiftbuild -q image --profile hetzner --with sqlite3

test: images ## build the images, then run every test and gate
	@$(PYTEST)

$(GATES): images
	@$(PYTEST) -m $(subst -,_,$@)

soak: setup ## power cuts of recorded runs at random, of data and of updates; SOAK_ROUNDS=20 and SOAK_SEED=1 say how many, and from which on
	@./swiftbuild -q image --profile qemu
	@./swiftbuild -q image --profile qemu --with sqlite3
	@DATAFS_SOAK_ROUNDS=$(or $(SOAK_ROUNDS),20) DATAFS_SOAK_SEED=$(or $(SOAK_SEED),1) $(PYTHON) -m tests.soak

explore: setup ## properties with many other cases; EXPLORE_SEED=N repeats those of one run
	@seed=$(or $(EXPLORE_SEED),$$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')); echo "EXPLORE_SEED=$$seed"; \
	HYPOTHESIS_PROFILE=explore $(PYTHON) -m pytest -q tests/unit --hypothesis-seed=$$seed && \
	PROPTEST_RNG_SEED=$$seed PROPTEST_CASES=1024 $(PYTHON) -m pytest -q tests/integration/test_rust.py -k pure_crate

bench: images ## measure and record in docs/benchmarks.md
	@$(PYTHON) -m tests.bench

doctor: setup ## every tool: found, wanted, fix
	@./swiftbuild doctor

clean: ## remove what was built, keep the cache
	@./swiftbuild clean

.PHONY: help setup image images test soak explore bench doctor clean $(GATES)
