# SPDX-License-Identifier: Apache-2.0
# The front door. Meson builds; the scripts do the rest. `make help` lists what there is.

BUILD     := build
TEMPLATES := $(BUILD)/templates
PREFIX    ?= /usr/local
export CARREL_BUILD := $(abspath $(BUILD))
export CARREL_TEMPLATES := $(abspath $(TEMPLATES))
MAKEFLAGS += --no-print-directory

.PHONY: all help deps deps-bench deps-lint template python ready test demo bench fuzz soak deb \
	lint format install clean distclean

all: $(BUILD)/build.ninja ## build the program: build/carrel
	@ninja -C $(BUILD)

$(BUILD)/build.ninja:
	meson setup $(BUILD) --prefix=$(PREFIX)

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 14

deps: ## install the packages that building and testing need
	@scripts/install-deps build

deps-bench deps-lint: ## install the packages for measuring, for linting and fuzzing
	@scripts/install-deps build $(@:deps-%=%)

template: all ## build the templates into build/templates: base, code-interpreter-v1
	@templates/build base $(TEMPLATES)
	@templates/build code-interpreter-v1 $(TEMPLATES)

python: ## put the Python package, the published SDKs and the test tools into build/venv, build/node
	@scripts/install-sdks
	@scripts/install-python

# Everything a run needs, in this order also under make -j.
ready: deps
	@$(MAKE) all
	@$(MAKE) template
	@$(MAKE) python

test: ready ## on any machine: set up, build, run every test (SUITES="unit style" for some)
	@scripts/run-tests $(SUITES)

demo: ready ## on any machine: set up, build, do the chapter's work with the SDKs and our package
	@scripts/demo

bench: deps-bench ready ## measure, side by side with other tools (bench/README.md)
	@bench/run

fuzz: deps-lint ## run every fuzz target for a while
	@tests/fuzz/run

soak: ready ## create, use and kill sandboxes for long, then look for what is left
	@tests/soak/run

lint: deps-lint ## module boundaries, style rules, formatting
	@scripts/check-modules
	@scripts/check-style
	@git ls-files '*.c' '*.h' | xargs -r clang-format --dry-run --Werror

format: deps-lint ## let clang-format rewrite the C sources
	@git ls-files '*.c' '*.h' | xargs -r clang-format -i

deb: deps ## a Debian package: build/carrel_VERSION_ARCH.deb
	@scripts/make-deb

install: all ## install under PREFIX (/usr/local); DESTDIR is honoured
	@meson install -C $(BUILD)

clean: ## remove what was compiled; the template and the SDKs stay
	@[ ! -f $(BUILD)/build.ninja ] || ninja -C $(BUILD) clean
	@rm -rf $(BUILD)/asan $(BUILD)/fuzz $(BUILD)/test-logs

distclean: ## remove everything that was built or fetched
	@rm -rf --one-file-system $(BUILD) node_modules
