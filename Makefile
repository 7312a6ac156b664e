# GNU make. Every target that prepares its own environment: nothing to activate.

# By default the first of these that fits.
PYTHON ?=
PYTHONS := $(or $(PYTHON),python3 python3.12 python3.11 python3.10 python3.13)
# Extras to install, of those in setup.cfg; by default what this Python can have.
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
override RUN := $(call home,$(RUN))
override SUMMARIES_DIR := $(call home,$(SUMMARIES_DIR))
override PICTURE := $(call home,$(PICTURE))
override EXAMINE_DIR := $(call home,$(EXAMINE_DIR))
# Exported, so that the shell reads them as variables and spaces or quotes in them do no harm.
export IMAGE_DIR RECORDS_DIR RUN STEPS ARCHITECTURE PICTURE SUMMARIES_DIR EXAMINE_DIR

# $(call flag,NAME,VARIABLE): --NAME=value where the variable is set, else nothing.
flag = $(if $($(2)),--$(1)="$$$(2)")
CONVERT_FLAGS = $(call flag,image_dir,IMAGE_DIR) $(call flag,records_dir,RECORDS_DIR)
TRAIN_FLAGS = $(call flag,how_many_training_steps,STEPS) $(call flag,architecture,ARCHITECTURE) \
	$(call flag,summaries_dir,SUMMARIES_DIR)

# Where finished runs are found, and where a new one goes: runs/<name of its images or records>. A
# flagfile that names them (retrain.flags of a run, say) may name the place too.
RUNS = $${RUN:-runs}
NEW_RUN = $${RUN:-runs/$$(place="$${IMAGE_DIR:-$${RECORDS_DIR:-run}}"; \
	basename "$$(cd -- "$$place" >/dev/null 2>&1 && pwd || echo "$$place")" | \
	sed 's/\.\(zip\|tar\|tgz\|tar\.[a-z0-9]*\)$$//')}
RUN_DIR_FLAG = $(if $(or $(IMAGE_DIR),$(RECORDS_DIR),$(RUN),$(if $(findstring flagfile,$(FLAGS)),,none)),--run_dir="$(NEW_RUN)")

PY := $(VENV)/bin/python

# What make accuracy compares.
SETTINGS ?= default,configs/best_head.flags
export SETTINGS

.DEFAULT_GOAL := help
.PHONY: help setup demo demo-inception demo-network convert train examine review runs tensorboard \
	screenshot label evaluate serve flowers bench \
	accuracy test test-slow mutants test-newest docs lint types check release docker clean
# Targets share an environment and the machine's memory.
.NOTPARALLEL:

help: ## this list
	@echo 'make TARGET [VARIABLE=value ...]'
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' Makefile | awk -F'|' '{printf "  %-14s %s\n", $$1, $$2}'
	@echo
	@echo 'Variables: IMAGE_DIR RECORDS_DIR RUN STEPS ARCHITECTURE PICTURE SUMMARIES_DIR EXAMINE_DIR'
	@echo 'SETTINGS, and FLAGS for further flags:  make train IMAGE_DIR=~/pets STEPS=500 FLAGS="--learning_rate=0.02"'
	@echo 'RUN=runs/pets chooses a run, where the last one is not meant.'
	@echo 'PYTHON=python3.12 chooses the Python of the first set-up.'

setup: $(VENV)/stamp ## make .venv and install what is needed into it (instant the next time)
	$(if $(filter setup,$(MAKECMDGOALS)),@cat $(VENV)/stamp)

DRAW_DEMO = $(PY) tools/draw_pictures.py --out_dir=build/demo/pictures \
	--held_back_dir=build/demo/held_back --per_class=60 --held_back=2 --seed=0

demo: setup ## the whole job on drawn flowers, into build/demo
	$(DRAW_DEMO)
	$(PY) tools/retrain.py --flagfile=configs/demo.flags $(TRAIN_FLAGS) $(FLAGS)
	@echo
	@echo 'Two images that it has never seen:'
	@find build/demo/held_back -type f | sort | tr '\n' '\0' | xargs -0 $(PY) tools/label_image.py \
		--graph=build/demo/runs
	@echo
	@echo 'Written to build/demo:'
	@du -sh build/demo/* | sed 's/^/  /'
	@echo
	@echo 'And then:'
	@echo '  make tensorboard RUN=build/demo/runs'
	@echo '      watch its curves in the browser'
	@echo '  make train IMAGE_DIR=~/my_pictures'
	@echo '      train on your own folder, in which each class has a folder'

demo-inception: setup ## the same with an untrained Inception v3: what is transfer learning worth?
	$(DRAW_DEMO)
	$(PY) tools/retrain.py --flagfile=configs/demo_inception.flags $(TRAIN_FLAGS) $(FLAGS)

demo-network: setup ## train the demo's network again, from a hundred invented kinds of flower
	$(PY) tools/draw_pictures.py --kind=invented --num_classes=100 --per_class=60 --seed=1 \
		--width=160 --height=120 --out_dir=build/demo_network/pictures
	$(PY) tools/retrain.py --flagfile=configs/demo_network.flags $(TRAIN_FLAGS) $(FLAGS)
	cp build/demo_network/demo_network.keras configs/

# $(call need,VARIABLE,example): says which variable is missing, unless FLAGS may hold it.
need = $(if $($(1))$(FLAGS),,@echo 'Say which: make $@ $(1)=$(2)' >&2; exit 1)

convert: setup ## IMAGE_DIR -> TFRecords in RECORDS_DIR
	$(call need,IMAGE_DIR,~/pets RECORDS_DIR=~/pets_records)
	$(call need,RECORDS_DIR,~/pets_records)
	$(PY) tools/convert_images.py $(CONVERT_FLAGS) $(FLAGS)

train: setup ## IMAGE_DIR (or RECORDS_DIR) -> a classifier, all stages, in runs/<name>
	$(if $(RECORDS_DIR),,$(call need,IMAGE_DIR,~/pets))
	$(PY) tools/retrain.py $(RUN_DIR_FLAG) $(CONVERT_FLAGS) $(TRAIN_FLAGS) $(FLAGS)

examine: setup ## likely wrong labels, near duplicates and odd images of IMAGE_DIR (or RECORDS_DIR)
	$(if $(RECORDS_DIR),,$(call need,IMAGE_DIR,~/pets))
	$(PY) tools/examine.py $(CONVERT_FLAGS) $(call flag,architecture,ARCHITECTURE) \
		$(call flag,examine_dir,EXAMINE_DIR) $(FLAGS)

review: setup ## decide on a page what of EXAMINE_DIR (examination) is so: into its corrections.tsv
	$(PY) tools/review.py $(call flag,examine_dir,EXAMINE_DIR) $(call flag,records_dir,RECORDS_DIR) $(FLAGS)

runs: setup ## a table of the runs, and what differs between them
	@$(PY) tools/runs.py --run_dir="$(RUNS)" $(FLAGS)

tensorboard: setup ## watch the training: shows runs/, or RUN, or SUMMARIES_DIR
	@logs="$${SUMMARIES_DIR:-$(RUNS)}"; find "$$logs" -name '*.tfevents.*' 2>/dev/null | grep -q . || { \
		echo "$$logs: nothing to show there yet. Run make train first" >&2; exit 1; }; \
	TF_CPP_MIN_LOG_LEVEL=3 $(PY) -c "$$SHOW_TENSORBOARD" --logdir "$$logs" $(FLAGS)

# Needs Debian's packages chromium and chromium-driver.
screenshot: demo $(VENV)/stamp-tests ## the README's images, from the demo: docs/images
	$(PY) tests/screenshot.py "build/demo/runs/$$(cat build/demo/runs/latest)" docs/images \
		build/demo/held_back/*.jpg

label: setup ## label PICTURE with the classifier of the last run, or of RUN
	$(call need,PICTURE,my.jpg)
	$(PY) tools/label_image.py --graph="$(RUNS)" $(FLAGS) $(if $(PICTURE),"$$PICTURE")

evaluate: setup ## the last run, or RUN, on the labelled images of IMAGE_DIR (or RECORDS_DIR)
	$(if $(RECORDS_DIR),,$(call need,IMAGE_DIR,~/other_pets))
	$(PY) tools/evaluate.py --graph="$(RUNS)" $(CONVERT_FLAGS) $(FLAGS)

serve: setup ## label images on a page in the browser, with the last run, or RUN
	$(PY) tools/serve.py --graph="$(RUNS)" $(FLAGS)

flowers: setup ## the tutorial: fetch flower_photos and the ImageNet weights, train
	$(PY) tools/fetch_flowers.py --out_dir=build/flowers
	$(PY) tools/retrain.py --flagfile=configs/flowers.flags $(call flag,run_dir,RUN) $(TRAIN_FLAGS) $(FLAGS)

bench: setup ## measure every stage beside its peers (BENCH_IMAGES, BENCH_MODELS: real ones)
	$(PY) -m benchmarks --json=build/bench/rows.json $(FLAGS)

accuracy: setup ## default and best head over ten splits of IMAGE_DIR (SETTINGS: flagfiles)
	$(call need,IMAGE_DIR,~/flower_photos)
	$(PY) tools/compare_settings.py $(call flag,image_dir,IMAGE_DIR) \
		$(call flag,architecture,ARCHITECTURE) --settings="$$SETTINGS" $(FLAGS)

test: $(VENV)/stamp-tests ## the tests, under 10 minutes
	$(PY) -m pytest -m "not slow" $(FLAGS)

# pytest answers 5 when it selects no test; no slow tests is not a failure.
test-slow: $(VENV)/stamp-tests ## the long tests: kills, memory, servers, workers
	$(PY) -m pytest -m slow $(FLAGS) || [ $$? -eq 5 ]

mutants: $(VENV)/stamp-tests ## break the code that holds data in 200 ways: which does no test notice?
	nice -n 10 $(PY) -m tools.mutants $(FLAGS)

test-newest: $(VENV_NEWEST)/stamp ## the tests with the newest TensorFlow, without tensorflow-io
	$(VENV_NEWEST)/bin/python -m pytest -m "not slow" $(FLAGS)

docs: $(VENV)/stamp-tests ## docs/api.md and flags.md anew; the documentation as a site in build/site
	$(PY) tools/make_reference.py
	NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --quiet

lint: $(VENV)/stamp-tests ## ruff: findings and format
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

types: $(VENV)/stamp-tests ## mypy
	$(PY) -m mypy poets_tfr tools benchmarks tests

check: lint types test ## lint, types and tests

# In another folder and as a user would: what runs there is what was installed.
ALONE := env -u PYTHONPATH -u MAKELEVEL
release: $(VENV)/stamp-tests ## build sdist and wheel into dist/; run a job from the wheel, alone in an environment
	rm -rf build/release dist/poets_tfr-*
	$(PY) -m build --outdir dist .
	$(PY) tools/draw_pictures.py --out_dir=build/release/pictures --per_class=12 --width=64 --height=48
	$(PY) -m venv build/release/venv
	build/release/venv/bin/python -c "$$INSTALL" dist/poets_tfr-*.whl
	cd build/release && $(ALONE) venv/bin/poets-retrain pictures --run_dir=runs \
		--records_dir=records --bottleneck_dir=features --architecture=MobileNet --weights=random \
		--image_size=32 --how_many_training_steps=100 --log_steps=few
	cd build/release && $(ALONE) venv/bin/poets-label --graph=runs pictures/daisy

docker: ## build the image poets_tfr (docs/docker.md)
	@docker info >/dev/null 2>&1 || { \
		echo 'No Docker engine answers here. Install or start Docker, or do without: make setup' >&2; \
		exit 1; }
	docker build -t poets_tfr .

clean: ## remove build/ and caches; keeps the environments and whatever you trained elsewhere
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
	find poets_tfr tools benchmarks tests -name __pycache__ -type d -prune -exec rm -rf {} +

# The environments. A stamp, written last, is newer than what it was made from.

# $(call fits,PYTHON): whether TensorFlow has releases for it, and venv is there.
KNOWN := (3, 10) <= sys.version_info < (3, 14)
fits = $(1) -c 'import ensurepip, sys, venv; sys.exit(not $(KNOWN))' >/dev/null 2>&1

# Sets $python, or says in two lines what to install.
define find_python
for each in $(PYTHONS); do if $(call fits,$$each); then python=$$each; break; fi; done; \
if [ -z "$$python" ]; then \
	for each in $(PYTHONS); do \
		if $$each -c 'import sys; sys.exit(not $(KNOWN))' 2>/dev/null; then \
			echo "$$each lacks the module venv." >&2; \
			echo "Debian and Ubuntu: sudo apt install $$(basename $$each)-venv" >&2; exit 1; \
		fi; \
	done; \
	found=$$(for each in $(PYTHONS); do $$each -V 2>/dev/null; done | sort -u | paste -s -d, -); \
	echo "Python 3.10 to 3.13 is needed: TensorFlow has no release for others. Found: $${found:-none}." >&2; \
	echo 'Install one: uv python install 3.12, or apt install python3.12-venv, dnf install python3.12, brew install python@3.12. Or name one: make setup PYTHON=/path/to/python3.12' >&2; \
	exit 1; \
fi
endef

# $(call make_venv,FOLDER): one whose Python runs and fits is kept; any other is made anew.
define make_venv
{ $(call fits,$(1)/bin/python) && $(1)/bin/python -c 'import pip' 2>/dev/null; } || { \
	python=; $(find_python); $$python -m venv --clear $(1) || exit 1; }
endef

# $(call install,EXTRAS): these, and the extras heif and, where this Python can have it, io, in one
# go: a second one might take back what the first has chosen.
define install
$(call make_venv,$(VENV)); \
extras="$(EXTRAS)"; \
[ -n "$$extras" ] || if $(PY) -c 'import sys; sys.exit(sys.version_info >= (3, 13))'; then extras=io,heif; \
	else extras=heif; fi; \
case ",$$extras," in *,io,*) pair="$(IO_TENSORFLOW)";; *) pair=;; esac; \
extras="$$extras$${extras:+,}$(1)"; extras="$${extras%,}"; \
$(PY) -c "$$INSTALL" -e ".$${extras:+[$$extras]}" $${pair:+"$$pair"} || exit 1; \
$(PY) -c "$$SAY_WHAT_IS_INSTALLED" > $(VENV)/stamp.part && mv $(VENV)/stamp.part $(VENV)/stamp
endef

$(VENV)/stamp: setup.cfg pyproject.toml
	@$(call install,)
	$(if $(filter setup,$(MAKECMDGOALS)),,@cat $@)

# What tests, lint, types and release need.
FOR_TESTS := test,lint,release
$(VENV)/stamp-tests: setup.cfg pyproject.toml
	@$(call install,$(FOR_TESTS))
	@cp $(VENV)/stamp $@
	@cat $@

$(VENV_NEWEST)/stamp: setup.cfg pyproject.toml
	@$(call make_venv,$(VENV_NEWEST))
	@$(VENV_NEWEST)/bin/python -c "$$INSTALL" -e '.[test]' 'tensorflow==$(NEWEST_TENSORFLOW).*'
	@$(VENV_NEWEST)/bin/python -c "$$SAY_WHAT_IS_INSTALLED" > $@.part
	@mv $@.part $@
	@cat $@

# pip's talk goes into a log. A terminal shows the latest of it, in place.
define INSTALL
import os, subprocess, sys
prefix, log = os.path.relpath(sys.prefix), os.path.join(sys.prefix, 'setup.log')
print(f'Installing into {prefix}: the first time this downloads 1 GB or so, and takes 3 GB of disk.', flush=True)
with open(log, 'w') as kept:
    for what in ['--upgrade', 'pip'], sys.argv[1:]:
        pip = [sys.executable, '-m', 'pip', 'install', '--no-input', *what]
        kept.write(f'{" ".join(pip)}\n')
        with subprocess.Popen(pip, stdout=-1, stderr=-2, text=True) as running:
            for line in running.stdout:
                kept.write(line)
                kept.flush()
                if sys.stdout.isatty():
                    print(f'\r\033[K{line.strip()[:78]}', end='', flush=True)
        if sys.stdout.isatty():
            print('\r\033[K', end='', flush=True)
        if running.returncode:
            kept.flush()
            sys.exit(f'{open(log).read()}\npip could not install it. What it said is above, and in {log}.')
endef
export INSTALL

define SHOW_TENSORBOARD
import sys, threading
from tensorboard import program
board = program.TensorBoard()
board.configure(['tensorboard', *sys.argv[1:]])
try:
    address = board.launch()
    print(f'Accuracy and cross entropy, train and validation in one chart: {address}#custom_scalars', flush=True)
    print('(^C ends it)', flush=True)
    threading.Event().wait()
except program.TensorBoardServerException as error:
    sys.exit(f'TensorBoard did not start: {error}')
except KeyboardInterrupt:
    pass
endef
export SHOW_TENSORBOARD

define SAY_WHAT_IS_INSTALLED
import importlib.metadata, platform, sys
version = importlib.metadata.version
says = f'{sys.prefix}: Python {platform.python_version()}, TensorFlow {version("tensorflow")}'
try:
    print(f'{says} with tensorflow-io {version("tensorflow-io")}')
except importlib.metadata.PackageNotFoundError:
    print(f'{says}, without tensorflow-io (it has no release for this Python and TensorFlow):')
    print('s3:// and az:// are not served.')
endef
export SAY_WHAT_IS_INSTALLED
