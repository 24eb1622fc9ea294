# `make` or `make help` lists what there is. What an entry does is in scripts/, one file each.
.DEFAULT_GOAL := help
.PHONY: help train local test test-long image smoke push audit image-diff reproducible lint lock coverage conformance bench \
	bench-end-to-end bench-prepare bench-scaling bench-scaling-ops bench-debugger bench-hosts bench-quality bench-serving kill-matrix kill-hosts clean

# An image for another platform than the engine's own has the name that scripts/build_image.sh gives it.
other = $(if $(PLATFORM),$(filter-out $(shell docker version --format '{{.Server.Arch}}'),$(notdir $(PLATFORM))))
IMAGE ?= distilbert-trainer:local$(addprefix -,$(other))

help: ## list these entries
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' Makefile

train: ## from a bare machine to a trained model: engine, image, channels, training, report
	@scripts/train_locally.sh

local: ## the same job through the local SageMaker: the launcher, the API, Processing and training jobs in containers
	@scripts/rehearse_locally.sh

test: ## every test tier that this machine can run; only some of them: TIERS="unit docker"
	@scripts/test.sh $(TIERS)

test-long: ## what CI leaves out or shortens, at full length, and kill-hosts and kill-matrix: hours
	@scripts/test_long.sh

image: ## build distilbert-trainer:local, WEIGHTS=distilbert-base-uncased or a folder in it, PLATFORM=linux/arm64 for another than this machine's; say what makes it up
	@scripts/engine.sh
	@PLATFORM="$(PLATFORM)" WEIGHTS="$(WEIGHTS)" scripts/build_image.sh $(IMAGE)
	@scripts/image_contents.sh $(IMAGE)

smoke: ## does the built image work? a few steps on data of its own, about a minute
	docker run --rm --label distilbert-trainer=run --network none $(IMAGE) smoke

push: ## build, smoke-test, scan, push to ECR, print the URI by digest (scripts/build_and_push.sh --help)
	@scripts/build_and_push.sh

audit: ## known vulnerabilities of the image in out/image, ADVISORIES=folder, zip or report; else the scanner's report there
	@scripts/host_python.sh
	@.venv/bin/python -m scripts.image.audit $(if $(ADVISORIES),--advisories "$(ADVISORIES)") out/image

image-diff: ## what differs between two images, A=... B=...: size, labels, packages, files
	@scripts/host_python.sh
	@.venv/bin/python -m scripts.image.diff $(A) $(B)

reproducible: ## build twice without a cache and compare byte by byte: a quarter of an hour
	@scripts/reproducible.sh

conformance: ## AWS's own SDKs, v2 with the notebook and v3, against the local SageMaker, in this image: seven minutes
	@scripts/host_python.sh
	@scripts/engine.sh
	@scripts/extra_venv.sh sagemaker-sdk sagemaker-sdk-v3
	@scripts/build_image.sh $(IMAGE)
	IMAGE=$(IMAGE) .venv/bin/python -m pytest --quiet --capture no --override-ini faulthandler_timeout=1800 -m conformance tests/conformance

bench: ## this trainer, Keras and PyTorch in turns, into benchmarks/results and docs/: two hours and a half
	@scripts/host_python.sh
	@scripts/host_weights.sh
	@scripts/extra_venv.sh pytorch
	PYTHONPATH=src .venv/bin/python -m benchmarks.training --weights .cache/weights

bench-end-to-end: ## from docker run to the model on disk, ours and Hugging Face's Trainer: shipped reviews and 100,000, a day; REVIEWS=shipped for the short part
	@scripts/host_python.sh
	@scripts/host_weights.sh
	@scripts/extra_venv.sh pytorch
	@scripts/engine.sh
	@scripts/build_image.sh $(IMAGE)
	PYTHONPATH=src .venv/bin/python -m benchmarks.end_to_end --image $(IMAGE) $(if $(REVIEWS),--reviews $(REVIEWS))

bench-scaling: ## rate and memory for 1, 4 and 16 times the data and for batches of 8 to 128: twenty minutes
	@scripts/host_python.sh
	@scripts/host_weights.sh
	PYTHONPATH=src .venv/bin/python -m benchmarks.scaling --weights .cache/weights

bench-scaling-ops: ## what of a step does not get faster from one core to two, operation by operation: half an hour
	@scripts/host_python.sh
	@scripts/host_weights.sh
	PYTHONPATH=src .venv/bin/python -m benchmarks.scaling_ops --weights .cache/weights

bench-hosts: ## a step on 1, 2 and 4 hosts and on slower networks, beside a model, in containers of the image: as root, a quarter of an hour
	@scripts/host_python.sh
	@scripts/engine.sh
	@scripts/build_image.sh $(IMAGE)
	.venv/bin/python -m benchmarks.hosts --image $(IMAGE)

bench-prepare: ## the rate of prepare beside its tokenizer's, and its memory, on 1,000,000 reviews: two minutes
	docker run --rm --label distilbert-trainer=run --network none --entrypoint python \
		--env PYTHONPATH=/opt/distilbert-trainer/src \
		--volume $(CURDIR)/benchmarks:/opt/distilbert-trainer/benchmarks:ro $(IMAGE) benchmarks/prepare.py

bench-serving: ## serve beside Keras's loop and FastAPI with PyTorch's pipeline, on the model of `make train`: ten minutes
	@scripts/host_python.sh
	@scripts/extra_venv.sh pytorch
	PYTHONPATH=src .venv/bin/python -m benchmarks.serving --model out/job/model

bench-quality: ## our recipe, Hugging Face's Trainer and TF-IDF, cross-validated: ninety minutes at most; ARGS=--quick: ten
	@scripts/host_python.sh
	@scripts/host_weights.sh
	@scripts/extra_venv.sh pytorch
	PYTHONPATH=src .venv/bin/python -m benchmarks.quality --weights .cache/weights $(ARGS)

bench-debugger: ## what the debugger's hook costs a job: off, default, everything on; half an hour
	@scripts/host_python.sh
	@scripts/host_weights.sh
	PYTHONPATH=src .venv/bin/python -m benchmarks.debugger --weights .cache/weights

kill-matrix: ## end 48 training jobs at random moments and let them go on; nothing may be lost: half an hour
	@scripts/host_python.sh
	PYTHONPATH=.:src TF_USE_LEGACY_KERAS=1 TF_CPP_MIN_LOG_LEVEL=2 \
		.venv/bin/python -m tests.helpers.kill_matrix --output out/kill-matrix.json

kill-hosts: ## one, two and four containers train one model; ten times one of two is killed: a quarter of an hour
	@scripts/host_python.sh
	IMAGE=$(IMAGE) .venv/bin/python -m pytest --quiet --override-ini faulthandler_timeout=3600 --full tests/image/test_hosts_at_length.py

coverage: ## which share of each package the tests without the image run: half an hour
	@scripts/host_python.sh
	@scripts/engine.sh
	@scripts/coverage.sh

lint: ## ruff, mypy, import contracts, shellcheck, hadolint, IAM policies, workflows
	@scripts/host_python.sh
	@scripts/lint.sh

lock: ## resolve the requirements anew, with hashes
	@scripts/host_python.sh
	@scripts/lock.sh

clean: ## delete out/ and this project's containers and images, by their label
	@scripts/clean.sh
