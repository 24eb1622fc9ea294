#!/usr/bin/env bash
# The job of jobs/local.toml through the local SageMaker: reviews into S3, prepare as a Processing job, a training job,
# its model. State and results are below out/.
#
#   make local
set -euo pipefail
cd "$(dirname "$0")/.."

export LOCAL_SAGEMAKER_STATE=$PWD/out/local-sagemaker
launcher=(.venv/bin/python -m launcher)

scripts/engine.sh
scripts/host_python.sh
scripts/build_image.sh distilbert-trainer:local

trap '"${launcher[@]}" local stop --force' EXIT
"${launcher[@]}" local put data/reviews.tsv s3://star-rating/reviews/
"${launcher[@]}" process --local --file jobs/local.toml
"${launcher[@]}" train --local --file jobs/local.toml "$@"
rm -rf out/local-job
"${launcher[@]}" download --local latest --to out/local-job
