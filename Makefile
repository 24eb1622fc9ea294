# `make` or `make help` lists what there is. What an entry does is in scripts/, one file each.
.DEFAULT_GOAL := help
.PHONY: help train test image smoke lint lock bench-prepare clean

IMAGE := distilbert-trainer:local

help: ## list these entries
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

train: ## from a bare machine to a trained model: engine, image, channels, training, report
	@scripts/train_locally.sh

test: ## every test tier that this machine can run
	@scripts/test.sh

image: ## build distilbert-trainer:local; say how big it is and what makes it up
	@scripts/engine.sh
	@scripts/build_image.sh $(IMAGE)
	@scripts/image_contents.sh $(IMAGE)

smoke: ## does the built image work? a few steps on data of its own, about a minute
	docker run --rm --label distilbert-trainer=run --network none $(IMAGE) smoke

bench-prepare: ## the rate of prepare beside its tokenizer's, and its memory, on 1,000,000 reviews: two minutes
	docker run --rm --label distilbert-trainer=run --network none --entrypoint python \
		--env PYTHONPATH=/opt/distilbert-trainer/src \
		--volume $(CURDIR)/benchmarks:/opt/distilbert-trainer/benchmarks:ro $(IMAGE) benchmarks/prepare.py

lint: ## ruff, mypy, shellcheck, hadolint
	@scripts/host_python.sh
	@scripts/lint.sh

lock: ## resolve the requirements anew, with hashes
	@scripts/host_python.sh
	@scripts/lock.sh

clean: ## delete out/ and this project's containers and images, by their label
	@scripts/clean.sh
