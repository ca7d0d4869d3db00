# Podium. `make` alone lists the commands; the work is in `python -m competition <verb>`.
MAKEFLAGS += -R
.DEFAULT_GOAL := help
PYTHON ?= .venv/bin/python
UV := uv==0.13.8
export COMP RUN RUNS DATA NAME METRIC SET AS FOLD TIME TRIALS FILE A B SAMPLE MESSAGE WAIT FORCE PUBLIC PRIVATE TASK TOP \
	SORT JSON TIMM ENGINE ADDRESS NODES GPUS

KNOWN := COMP RUN RUNS DATA NAME METRIC SET AS FOLD TIME TRIALS FILE A B SAMPLE MESSAGE WAIT FORCE \
	PUBLIC PRIVATE TASK TOP SORT JSON TIMM ENGINE ADDRESS NODES GPUS PYTHON
UNKNOWN := $(filter-out $(KNOWN),$(foreach v,$(.VARIABLES),$(if $(filter command,$(origin $(v))),$(v))))
ifneq ($(strip $(UNKNOWN)),)
$(error there is no variable $(strip $(UNKNOWN)); the variables are $(KNOWN))
endif

# A target that needs a variable says so, with an example, before Python starts.
need = @test -n "$$$(1)" || { echo "usage: make $@ $(2)" >&2; exit 2; }
podium = $(PYTHON) -m competition
place = $${ENGINE:+--engine "$$ENGINE"} $${ADDRESS:+--address "$$ADDRESS"}
comma := ,

.PHONY: help setup lock demo demo-detect test test-all lint bench init check folds train predict ensemble submission \
	tabular detect tune import portfolio importance compare reproduce lr look describe onnx plan export export-test \
	guard upload score leaderboard report sync bench-tables bench-detect bench-search bench-noise bench-blend \
	bench-check bench-tracking bench-stages bench-disk bench-damage bench-cluster bench-ranks docs

help: ## these lines
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

ifeq ($(PYTHON),.venv/bin/python)
setup: .venv/installed
endif
setup: ## the environment from the pinned lock, into .venv (nothing where PYTHON= names another)

.venv/installed: requirements.lock
	@python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Podium needs Python 3.11 or newer" >&2; exit 4; }
	python3 -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check '$(UV)'
	.venv/bin/uv pip install --python .venv/bin/python --require-hashes --compile-bytecode --quiet -r requirements.lock
	@touch $@

lock: .venv/installed ## renews requirements.lock from pyproject.toml
	.venv/bin/uv pip compile --quiet --universal --generate-hashes --group dev --python-version 3.11 \
		--custom-compile-command 'make lock' pyproject.toml -o requirements.lock

demo: setup ## the whole pipeline on handwritten digits, to a submission and its held-back score
	@$(podium) demo

demo-detect: setup ## the same with boxes: digits on photos, from scratch to a submission and its held-back score
	@$(podium) demo-detect

test: setup lint ## lint, types, tests
	@$(PYTHON) -m pytest

test-all: setup lint ## the same with the tests that take longest: the whole zoo, every bad input, killed searches
	@$(PYTHON) -m pytest -m "slow or not slow"

lint: setup
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m ruff format --check .
	@$(PYTHON) -m ty check

bench: setup ## [TIMM=<checkout>] [DATA=]: our loop, the bare step, a plain loop; then ours beside timm, fastai, AutoGluon
	@$(PYTHON) -m benchmarks.loop
	@$(PYTHON) -m benchmarks.rivals $${TIMM:+--timm "$$TIMM"} $${DATA:+--data "$$DATA"}

bench-stages: setup ## [RUN=<name>/<run>]: where a run's time goes, by stage, from the data to the checked CSV
	@$(PYTHON) -m benchmarks.stages $${RUN:+"$$RUN"} $${SET:+--set "$$SET"}

bench-noise: setup ## what a blend of noise scores in sample, and what nested
	@$(PYTHON) -m benchmarks.noise

bench-ranks: setup ## one fold by several processes beside one: loss curves; and ranks that are killed, at random moments
	@$(PYTHON) -m benchmarks.ranks

bench-tables: setup ## time and memory of each tabular model and of the preset quick on 250,000 x 24
	@$(PYTHON) -m benchmarks.tables

bench-detect: setup ## [RUN=scenes/baseline]: images/s of a detector's loop, mosaic on, beside its bare step
	@$(PYTHON) -m benchmarks.detection $${RUN:+"$$RUN"}

bench-search: setup ## RUN=<name>/<run>: a search that stops trials against one that doesn't: folds spent and what is found
	$(call need,RUN,RUN=<name>/<run>)
	@$(PYTHON) -m benchmarks.search "$$RUN"

bench-blend: setup ## blend weights of 20 runs x 50,000 rows x 10 classes: ours, a loop of metric calls, SLSQP, Optuna
	@OMP_NUM_THREADS=1 $(PYTHON) -m benchmarks.blending

bench-check: setup ## [DATA=<folder of pictures>]: near copies that are made and found, rate and memory of make check
	@$(PYTHON) -m benchmarks.check $${DATA:+--data "$$DATA"}

bench-tracking: setup ## training, its start and its end without a mirror, offline, and where no server answers
	@$(PYTHON) -m benchmarks.tracking

bench-disk: setup ## every call that changes a file fails in turn; full and read-only disks; nothing torn, same result
	@$(PYTHON) -m benchmarks.disk_faults

bench-cluster: setup ## three nodes of Ray here: same bytes as one machine, with a node and 20 workers killed, too
	@$(PYTHON) -m benchmarks.cluster

bench-damage: setup ## files of a run and its caches cut, zeroed, flipped, swapped: what notices
	@$(PYTHON) -m benchmarks.damage

init: setup ## DATA=<folder> NAME=<name> [METRIC=] [SET=]: looks at a competition and writes its configuration
	$(call need,DATA,DATA=<folder> NAME=<name>)
	$(call need,NAME,DATA=<folder> NAME=<name>)
	@$(podium) init "$$DATA" "$$NAME" $${METRIC:+--metric "$$METRIC"} $${SET:+--set "$$SET"}

check: setup ## COMP=<name>: reads every table and picture once: what is wrong, on one page and one sheet of pictures
	$(call need,COMP,COMP=<name>)
	@$(podium) check "$$COMP"

folds: setup ## COMP=<name>: writes the fold table
	$(call need,COMP,COMP=<name>)
	@$(podium) folds "$$COMP"

train: setup ## RUN=<name>/<run> [FOLD=2] [SET="epochs=3 lr=1e-3"] [AS=] [ENGINE=ray [ADDRESS=auto]]: trains the missing folds
	$(call need,RUN,RUN=<name>/<run>)
	@$(podium) train "$$RUN" $${FOLD:+--fold "$$FOLD"} $${SET:+--set "$$SET"} $${AS:+--as "$$AS"} $(place)

predict: setup ## RUN=<name>/<run> [ENGINE=]: out-of-fold and test predictions with TTA, and the score
	$(call need,RUN,RUN=<name>/<run>)
	@$(podium) predict "$$RUN" $(place)

ensemble: setup ## COMP=<name> [RUNS="a b c"] [SET="method=rank"] [AS=<name>/blend]: blend of runs, with its nested score
	$(call need,COMP,COMP=<name>)
	@$(podium) ensemble "$$COMP" $${RUNS:+--runs "$$RUNS"} $${SET:+--set "$$SET"} $${AS:+--as "$$AS"}

submission: setup ## RUN=<name>/<run> [TIME=9h] [SET=] [AS=] [ENGINE=]: everything that RUN still needs, then its checked CSV
	$(call need,RUN,RUN=<name>/<run>)
	@$(podium) submission "$$RUN" $${SET:+--set "$$SET"} $${AS:+--as "$$AS"} $${TIME:+"--time=$$TIME"} $(place)

tabular: setup ## RUN=<name>/<run> [TIME=10m] [SET=] [AS=]: the same for a run on tables
	$(call need,RUN,RUN=<name>/<run>)
	@$(podium) tabular "$$RUN" $${SET:+--set "$$SET"} $${AS:+--as "$$AS"} $${TIME:+"--time=$$TIME"} $(place)

detect: setup ## RUN=<name>/<run> [TIME=] [SET=] [AS=]: the same for a run that finds boxes
	$(call need,RUN,RUN=<name>/<run>)
	@$(podium) detect "$$RUN" $${SET:+--set "$$SET"} $${AS:+--as "$$AS"} $${TIME:+"--time=$$TIME"} $(place)

tune: setup ## RUN=<name>/<run> [TRIALS=30] [TIME=2h] [ENGINE=]: searches over the run's settings, writes <run>-tuned
	$(call need,RUN,RUN=<name>/<run>)
	@$(podium) tune "$$RUN" $${TRIALS:+--trials "$$TRIALS"} $${TIME:+--time "$$TIME"} $(place)

import: setup ## FILE=oof.csv,test.csv RUN=<name>/<run>: brings another program's predictions in as a run
	$(call need,FILE,FILE=oof.csv$(comma)test.csv RUN=<name>/<run>)
	$(call need,RUN,FILE=oof.csv$(comma)test.csv RUN=<name>/<run>)
	@$(podium) import "$$FILE" "$$RUN"

portfolio: setup ## RUN=<name>/<run>: what a preset tried, what it cost and what it weighs
	$(call need,RUN,RUN=<name>/<run>)
	@$(podium) portfolio "$$RUN"

importance: setup ## RUN=<name>/<run>: what each column is worth to a trained run, as a table and a picture
	$(call need,RUN,RUN=<name>/<run>)
	@$(podium) importance "$$RUN"

compare: setup ## COMP=<name> [RUNS="conv* blend"] [TASK=image] [TOP=10] [SORT=time] [JSON=1]: ranks runs; A= B=: is B better?
	@$(podium) compare $${COMP:+"$$COMP"} $${A:+--a "$$A"} $${B:+--b "$$B"} $${RUNS:+--runs "$$RUNS"} $${TASK:+--task "$$TASK"} \
		$${TOP:+--top "$$TOP"} $${SORT:+--sort "$$SORT"} $(if $(filter-out 0,$(JSON)),--json)

reproduce: setup ## RUN=<name>/<run>: makes it again from its card alone: equal to the byte, within rounding, or different
	$(call need,RUN,RUN=<name>/<run>)
	@$(podium) reproduce "$$RUN"

lr: setup ## RUN=<name>/<run>: the learning-rate range test, drawn as lr.png, and the rate to try
	$(call need,RUN,RUN=<name>/<run>)
	@$(podium) lr "$$RUN"

look: setup ## RUN=<name>/<run> [SET=]: training pictures as the network is given them, with their targets, drawn as look.png
	$(call need,RUN,RUN=<name>/<run>)
	@$(podium) look "$$RUN" $${SET:+--set "$$SET"}

describe: setup ## RUN=<name>/<run>: a trained network: its layers, throughput, feature maps, and where it looks
	$(call need,RUN,RUN=<name>/<run>)
	@$(podium) describe "$$RUN"

onnx: setup ## RUN=<name>/<run>: a trained image run's networks as ONNX and torch.export, checked, and their speed here
	$(call need,RUN,RUN=<name>/<run>)
	@$(podium) onnx "$$RUN"

plan: setup ## RUN=<name>/<run> [TIME=9h] [NODES=4 GPUS=8 TRIALS=30]: how long it takes here, or there; what of it fits TIME
	$(call need,RUN,RUN=<name>/<run>)
	@$(podium) plan "$$RUN" $${TIME:+--time "$$TIME"} $${NODES:+--nodes "$$NODES"} $${GPUS:+--gpus "$$GPUS"} \
		$${TRIALS:+--trials "$$TRIALS"}

export: setup ## RUN=<name>/<run>: a trained run as a folder for a notebook without network: exports/<name>/<run>/
	$(call need,RUN,RUN=<name>/<run>)
	@$(podium) export "$$RUN"

export-test: setup ## RUN=<name>/<run>: runs that folder without a network, and compares its CSV with ours
	$(call need,RUN,RUN=<name>/<run>)
	@$(podium) export-test "$$RUN"

guard: setup ## FILE=<csv> [SAMPLE=<csv> | COMP=<name>]: is a CSV a valid submission? by a sample alone, or by its run's OOF
	$(call need,FILE,FILE=<csv> SAMPLE=<sample_submission.csv>)
	@$(podium) guard "$$FILE" $${SAMPLE:+"$$SAMPLE"} $${COMP:+--competition "$$COMP"}

upload: setup ## FILE=submissions/<name>/<run>.csv [MESSAGE=] [WAIT=1] [FORCE=1]: guards, uploads, fetches the score
	$(call need,FILE,FILE=submissions/<name>/<run>.csv)
	@$(podium) upload "$$FILE" $${MESSAGE:+"--message=$$MESSAGE"} $${COMP:+--competition "$$COMP"} $(if $(filter-out 0,$(WAIT)),--wait) \
		$(if $(filter-out 0,$(FORCE)),--force)

score: setup ## FILE=submissions/<name>/<run>.csv PUBLIC= [PRIVATE=]: scores into the ledger, by hand
	$(call need,FILE,FILE=submissions/<name>/<run>.csv PUBLIC=0.8134)
	$(call need,PUBLIC,FILE=submissions/<name>/<run>.csv PUBLIC=0.8134)
	@$(podium) score -- "$$FILE" "$$PUBLIC" $${PRIVATE:+"$$PRIVATE"}

leaderboard: setup ## COMP=<name>: CV against public scores, drawn, and which two submissions to choose
	$(call need,COMP,COMP=<name>)
	@$(podium) leaderboard "$$COMP"

report: setup ## COMP=<name> [RUNS="a b"]: one HTML file of all runs, a few in detail, that needs no network
	$(call need,COMP,COMP=<name>)
	@$(podium) report "$$COMP" $${RUNS:+--runs "$$RUNS"}

sync: setup ## [COMP=<name>]: mirrors what W&B does not know yet, uploads what was logged offline
	@$(podium) sync $${COMP:+"$$COMP"}

docs: setup ## docs/config.md from the typed configuration
	@$(podium) schema > docs/config.md
