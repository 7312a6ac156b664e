# GNU make. Every target that prepares its own environment: nothing to activate.

PYTHON ?= python3
# The extras to install; by default what this Python can have.
EXTRAS ?=

VENV := .venv
VENV_NEWEST := .venv-newest
NEWEST_TENSORFLOW := 2.21
# The extra io's TensorFlow, named to pip at once: else it fetches the newest first, then this one.
IO_TENSORFLOW := $(shell sed -n 's/^ *\(tensorflow~=[^;]*\);.*/\1/p' setup.cfg)

# A leading ~ in a variable: most shells do not expand it behind IMAGE_DIR=.
home = $(subst @@,,$(subst @@~/,$(HOME)/,@@$(1)))
override IMAGE_DIR := $(call home,$(IMAGE_DIR))
override RECORDS_DIR := $(call home,$(RECORDS_DIR))
override SUMMARIES_DIR := $(call home,$(SUMMARIES_DIR))
override PICTURE := $(call home,$(PICTURE))
# Exported, so that the shell reads them as variables and spaces or quotes in them do no harm.
export IMAGE_DIR RECORDS_DIR STEPS ARCHITECTURE PICTURE SUMMARIES_DIR

# $(call flag,NAME,VARIABLE): --NAME=value where the variable is set, else nothing.
flag = $(if $($(2)),--$(1)="$$$(2)")
CONVERT_FLAGS = $(call flag,image_dir,IMAGE_DIR) $(call flag,records_dir,RECORDS_DIR)
TRAIN_FLAGS = $(call flag,how_many_training_steps,STEPS) $(call flag,architecture,ARCHITECTURE) \
	$(call flag,summaries_dir,SUMMARIES_DIR)

RUN := $(VENV)/bin/python

# What make accuracy compares.
SETTINGS ?= default,configs/best_head.flags
export SETTINGS

.DEFAULT_GOAL := help
.PHONY: help setup demo convert train tensorboard screenshot label serve flowers bench accuracy test \
	test-slow test-newest docs lint types check docker clean
# Targets share an environment and the machine's memory.
.NOTPARALLEL:

help: ## this list
	@echo 'make TARGET [VARIABLE=value ...]'
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' Makefile | awk -F'|' '{printf "  %-12s %s\n", $$1, $$2}'
	@echo
	@echo 'Variables: IMAGE_DIR RECORDS_DIR STEPS ARCHITECTURE PICTURE SUMMARIES_DIR, and FLAGS for'
	@echo 'further flags:  make train IMAGE_DIR=~/pets STEPS=500 FLAGS="--learning_rate=0.02"'
	@echo 'PYTHON=python3.12 chooses the Python of the first set-up.'

setup: $(VENV)/stamp ## make .venv and install everything into it (instant the next time)
	$(if $(filter setup,$(MAKECMDGOALS)),@cat $(VENV)/stamp)

demo: setup ## the whole job on drawn pictures, into build/demo
	$(RUN) tools/draw_pictures.py --out_dir=build/demo/pictures \
		--held_back_dir=build/demo/held_back --per_class=60 --held_back=2 --seed=0
	$(RUN) tools/retrain.py --flagfile=configs/demo.flags $(TRAIN_FLAGS) $(FLAGS)
	@echo
	@echo 'Two pictures that it has never seen:'
	@find build/demo/held_back -type f | sort | tr '\n' '\0' | xargs -0 $(RUN) tools/label_image.py \
		--graph=build/demo/output_graph.pb --labels=build/demo/output_labels.txt
	@echo
	@echo 'Written to build/demo:'
	@du -sh build/demo/* | sed 's/^/  /'
	@echo
	@echo 'Next:'
	@echo '  make tensorboard SUMMARIES_DIR='"$$(sed -n 's/^--summaries_dir=//p' configs/demo.flags)"
	@echo '      watch its curves in the browser'
	@echo '  make label PICTURE=my.jpg \'
	@echo '      FLAGS="--graph=build/demo/output_graph.pb --labels=build/demo/output_labels.txt"'
	@echo '      label a picture of yours with what the demo has learned'
	@echo '  make train IMAGE_DIR=~/my_pictures'
	@echo '      train on your own folder, in which each class has a folder'

# $(call need,VARIABLE,example): says which variable is missing, unless FLAGS may hold it.
need = $(if $($(1))$(FLAGS),,@echo 'Say which: make $@ $(1)=$(2)' >&2; exit 1)

convert: setup ## IMAGE_DIR -> TFRecords in RECORDS_DIR
	$(call need,IMAGE_DIR,~/pets RECORDS_DIR=~/pets_records)
	$(RUN) tools/convert_images.py $(CONVERT_FLAGS) $(FLAGS)

train: setup ## IMAGE_DIR (or RECORDS_DIR) -> a classifier, all stages
	$(if $(RECORDS_DIR),,$(call need,IMAGE_DIR,~/pets))
	$(RUN) tools/retrain.py $(CONVERT_FLAGS) $(TRAIN_FLAGS) $(FLAGS)

tensorboard: setup ## watch the training: serves SUMMARIES_DIR (default /tmp/retrain_logs)
	@test -d "$${SUMMARIES_DIR:-/tmp/retrain_logs}" || { \
		echo "$${SUMMARIES_DIR:-/tmp/retrain_logs} is not there yet: run make train first" >&2; exit 1; }
	@echo 'Accuracy and cross entropy, train and validation in one chart: #custom_scalars behind the address below'
	TF_CPP_MIN_LOG_LEVEL=3 $(RUN) -m tensorboard.main --logdir "$${SUMMARIES_DIR:-/tmp/retrain_logs}" $(FLAGS)

# Needs Debian's packages chromium and chromium-driver.
screenshot: demo ## the README's pictures, from the demo: docs/images
	$(RUN) tests/screenshot.py build/demo/retrain_logs docs/images

label: setup ## label PICTURE with the classifier of the last make train
	$(call need,PICTURE,my.jpg)
	$(RUN) tools/label_image.py $(FLAGS) $(if $(PICTURE),"$$PICTURE")

serve: setup ## label pictures on a page in the browser, with the classifier of the last make train
	$(RUN) tools/serve.py $(FLAGS)

flowers: setup ## the tutorial: fetch flower_photos and the ImageNet weights, train
	$(RUN) tools/fetch_flowers.py --out_dir=build/flowers
	$(RUN) tools/retrain.py --flagfile=configs/flowers.flags $(TRAIN_FLAGS) $(FLAGS)

bench: setup ## measure every stage beside its peers (BENCH_IMAGES, BENCH_MODELS: real ones)
	$(RUN) tools/bench.py --json=build/bench/rows.json $(FLAGS)

accuracy: setup ## default and best head over ten splits of IMAGE_DIR (SETTINGS: flagfiles)
	$(call need,IMAGE_DIR,~/flower_photos)
	$(RUN) tools/compare_settings.py $(call flag,image_dir,IMAGE_DIR) \
		$(call flag,architecture,ARCHITECTURE) --settings="$$SETTINGS" $(FLAGS)

test: setup ## the tests, under 10 minutes
	$(RUN) -m pytest -m "not slow" $(FLAGS)

# pytest answers 5 when it selects no test; no slow tests is not a failure.
test-slow: setup ## the long tests: kills, memory, servers, workers
	$(RUN) -m pytest -m slow $(FLAGS) || [ $$? -eq 5 ]

test-newest: $(VENV_NEWEST)/stamp ## the tests with the newest TensorFlow, without tensorflow-io
	$(VENV_NEWEST)/bin/python -m pytest -m "not slow" $(FLAGS)

docs: setup ## write docs/api.md and docs/flags.md anew, from the docstrings and settings
	$(RUN) tools/make_reference.py

lint: setup ## ruff: findings and format
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

# mypy does not know that tools/ is poets_tfr.tools: it gets the installed layout, as links.
types: setup ## mypy
	@rm -rf build/types
	@mkdir -p build/types/poets_tfr
	@ln -s ../../tests build/types/tests
	@cd build/types/poets_tfr && ln -s ../../../tools ../../../poets_tfr/* .
	cd build/types && MYPYPATH=tests ../../$(RUN) -m mypy --config-file=../../setup.cfg \
		--cache-dir=../../.mypy_cache poets_tfr tests

check: lint types test ## lint, types and tests

docker: ## build the image poets_tfr (docs/docker.md)
	@docker info >/dev/null 2>&1 || { \
		echo 'No Docker engine answers here. Install or start Docker, or do without: make setup' >&2; \
		exit 1; }
	docker build -t poets_tfr .

clean: ## remove build/ and caches; keeps the environments and whatever you trained elsewhere
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
	find poets_tfr tools tests -name __pycache__ -type d -prune -exec rm -rf {} +

# The environments. A stamp, written last, is newer than what it was made from.

define require_python
command -v $(PYTHON) >/dev/null || { \
	echo '$(PYTHON) is not installed: install Python 3.10 or later, or name one: make setup PYTHON=/path/to/python3' >&2; \
	exit 1; }; \
$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
	echo "Python 3.10 or later is needed; $(PYTHON) is $$($(PYTHON) -V 2>&1). Name another one: make setup PYTHON=python3.12" >&2; \
	exit 1; }; \
$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	echo '$(PYTHON) lacks the module venv. Debian and Ubuntu: sudo apt install python3-venv' >&2; \
	exit 1; }
endef

# An environment whose Python still runs is kept; one that was moved or lost its Python is made anew.
define make_venv
$(1)/bin/python -c 'import pip' 2>/dev/null || { $(require_python); \
	$(PYTHON) -m venv --clear $(1); }
endef

$(VENV)/stamp: setup.cfg pyproject.toml
	@$(call make_venv,$(VENV))
	@echo 'Installing into $(VENV): the first time this downloads about 1 GB; it takes 3 GB of disk.'
	$(RUN) -m pip install --upgrade pip
	@extras="$(EXTRAS)"; \
	[ -n "$$extras" ] || if $(RUN) -c 'import sys; sys.exit(sys.version_info >= (3, 13))'; \
		then extras=io,test,lint; else extras=test,lint; fi; \
	case ",$$extras," in *,io,*) pair="$(IO_TENSORFLOW)";; *) pair=;; esac; \
	echo "pip install -e .[$$extras] $$pair"; \
	$(RUN) -m pip install -e ".[$$extras]" $${pair:+"$$pair"}
	@$(RUN) -c "$$SAY_WHAT_IS_INSTALLED" > $@.part
	@mv $@.part $@
	$(if $(filter setup,$(MAKECMDGOALS)),,@cat $@)

$(VENV_NEWEST)/stamp: setup.cfg pyproject.toml
	@$(call make_venv,$(VENV_NEWEST))
	$(VENV_NEWEST)/bin/python -m pip install --upgrade pip
	$(VENV_NEWEST)/bin/python -m pip install -e '.[test]' 'tensorflow==$(NEWEST_TENSORFLOW).*'
	@$(VENV_NEWEST)/bin/python -c "$$SAY_WHAT_IS_INSTALLED" > $@.part
	@mv $@.part $@
	@cat $@

define SAY_WHAT_IS_INSTALLED
import importlib.metadata, platform, sys
version = importlib.metadata.version
says = f'{sys.prefix}: Python {platform.python_version()}, TensorFlow {version("tensorflow")}'
try:
    print(f'{says} with tensorflow-io {version("tensorflow-io")}')
except importlib.metadata.PackageNotFoundError:
    print(f'{says}, without tensorflow-io (it has no release for this Python and TensorFlow):')
    print('pictures in formats that TensorFlow itself cannot decode are skipped with that reason.')
endef
export SAY_WHAT_IS_INSTALLED
