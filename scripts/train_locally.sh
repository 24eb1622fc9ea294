#!/usr/bin/env bash
# From a bare machine to a trained model: a Docker engine, the image, TFRecord channels of the shipped reviews, and a
# run of the image as SageMaker would run it. What is there already is not made again; the training is.
#
#   make train                  out/job is the container's /opt/ml; out/model.tar.gz is what SageMaker would upload
set -euo pipefail
cd "$(dirname "$0")/.."

image=distilbert-trainer:local
settings=scripts/local_job # the config files of the job, as SageMaker would write them
reviews=data/reviews.tsv
job=out/job

# Under sudo the caller is somebody else, and what is left here is to be theirs.
user=${SUDO_UID:-$(id -u)}:${SUDO_GID:-$(id -g)}
give_back() {
    mkdir -p out .build .cache
    if [[ -n ${SUDO_UID:-} ]]; then chown -R "$user" out .build .cache; fi
}
trap give_back EXIT

run() { # run [DOCKER OPTION...] COMMAND [OPTION...]: the image as the caller, without a network
    docker run --rm --label distilbert-trainer=run --network none --user "$container_user" "$@"
}

channels_are_current() {
    [[ -f out/channels.sha256 ]] && sha256sum --check --status out/channels.sha256
}

make_channels() {
    local length
    length=$(sed -n 's/.*"max_seq_length": "\([0-9]*\)".*/\1/p' "$settings/hyperparameters.json")
    rm -rf "$job/input/data" out/channels.sha256
    mkdir -p "$job/input/data"
    run --volume "$PWD/$job:/opt/ml" --volume "$PWD/data:/reviews:ro" \
        "$image" prepare --input "/reviews/${reviews##*/}" --output /opt/ml/input/data --max-seq-length "$length"
    # What they are made of and by, and themselves.
    find "$reviews" "$settings/hyperparameters.json" src/prepare.py src/star_rating/preparation src/star_rating/data/manifest.py \
        container/convert_minilm.py container/weights-requirements.txt "$job/input/data" \
        -type f -not -name '*.pyc' -exec sha256sum {} + > out/channels.sha256
}

scripts/engine.sh
scripts/build_image.sh "$image"

mkdir -p "$job/input/config"
give_back
container_user=$user
# A rootless engine maps its root, and only that, to the caller.
if [[ $(docker info --format '{{.SecurityOptions}}') == *rootless* ]]; then container_user=0:0; fi

if channels_are_current; then
    echo "channels: $job/input/data is up to date"
else
    echo "channels: making them of $reviews"
    make_channels
fi

echo "train: $(paste -sd ' ' "$settings/hyperparameters.json" | tr -s ' ')"
rm -rf "$job/model" "$job/output" out/model.tar.gz
cp "$settings"/*.json "$job/input/config/"
run --hostname algo-1 --volume "$PWD/$job:/opt/ml" "$image" train
# As SageMaker packs it: the folder's contents, without the folder.
tar --create --gzip --file out/model.tar.gz --directory "$job/model" .

run --volume "$PWD/$job:/opt/ml:ro" "$image" report
echo
echo "model             $PWD/out/model.tar.gz"
echo "confusion matrix  $PWD/$job/model/metrics/confusion_matrix.png"
echo "training curves   $PWD/$job/model/metrics/training_curves.png"
echo "profiler report   $PWD/$job/output/data/profiler-report.html"
