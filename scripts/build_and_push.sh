#!/usr/bin/env bash
# Build the training image, prove that it works, push it to ECR, and print its URI by digest, the only line on stdout.
#
#   launcher train --image "$(scripts/build_and_push.sh)"
#
# Each step is a function; the last lines have their order. One that fails says what to do, with its own exit code.
set -euo pipefail

root=$(realpath "$(dirname "$0")/..")
# shellcheck source=scripts/image/commands.sh
source "$root/scripts/image/commands.sh"
region=${AWS_REGION:-${AWS_DEFAULT_REGION:-}} profile=() registry_id=${ECR_REGISTRY_ID:-}
repository=${ECR_REPOSITORY:-distilbert-trainer} kms_key=${ECR_KMS_KEY:-} dry_run=0 soci=${SOCI:+soci}
sign_by=${COSIGN_SIGN:-} image='' weights=${WEIGHTS:-} dirty=refuse fail_on='' output=$root/out/image
while (($#)); do
    case $1 in
        --dry-run) dry_run=1 && shift && continue ;;
        --soci) soci=soci && shift && continue ;;
        --help) cat "$root/scripts/image/build_and_push_usage.txt" && exit ;;
    esac
    [[ -n ${2:-} ]] || fail 2 "$1 is no option, or lacks its value; --help lists the options"
    case $1 in
        --region) region=$2 ;;
        --profile) profile=(--profile "$2") ;;
        --registry-id) registry_id=$2 ;;
        --repository) repository=$2 ;;
        --kms-key) kms_key=$2 ;;
        --weights) weights=$2 ;;
        --image) image=$2 ;;
        --dirty) dirty=$2 ;;
        --fail-on) fail_on=$2 ;;
        --sign) sign_by=$2 ;;
        --output) output=$(realpath --canonicalize-missing -- "$2") ;;
        *) fail 2 "$1 is no option; --help lists them" ;;
    esac
    shift 2
done
[[ -z $image || -z $weights ]] || fail 2 "--image takes an image as it is, --weights (or WEIGHTS) builds one: leave one out"
[[ $dirty == @(refuse|mark) ]] || fail 2 "--dirty is '$dirty'; write refuse or mark"
[[ $fail_on == @(|low|medium|high|critical) ]] || fail 2 "--fail-on is '$fail_on'; write low, medium, high or critical"

exec 3>&1 >&2 # what commands print is talk; stdout, now 3, is for the result
cd "$root"
PATH=$PATH:$root/.venv/bin # the AWS CLI of the tests, where PATH has none
python=.venv/bin/python

# What the steps find out.
repository_uri='' image_id='' tag='' digest='' soci_digest='' work='' error_log=/dev/null smoke_container='' pushed_name=''
clean_up() {
    if ((dry_run)); then return; fi
    rm -rf "$work"
    if [[ -n $smoke_container ]]; then docker rm --force "$smoke_container" > /dev/null 2>&1 || true; fi
    # The name of a push that came to nothing; the image keeps its others.
    if [[ -n $pushed_name ]]; then docker image rm "$pushed_name" > /dev/null 2>&1 || true; fi
}
trap clean_up EXIT

prepare() {
    local tool contexts=${DOCKER_CONFIG:-${HOME:-}/.docker}/contexts
    for tool in aws docker $soci ${sign_by:+cosign}; do command -v "$tool" > /dev/null || fail 1 "$tool is not in PATH: install it"; done
    [[ -x $python ]] || run scripts/host_python.sh || fail 1 "the reports need .venv; scripts/host_python.sh makes it"
    [[ -n $region ]] || region=$(aws "${profile[@]}" configure get region) \
        || fail 2 "no region: name one by --region or AWS_REGION"
    # --region: the CLI does not read AWS_REGION. The limits end connections that stay silent.
    ecr=(aws --region "$region" "${profile[@]}" --cli-connect-timeout 10 --cli-read-timeout 60 ecr)
    account=()
    if [[ -n $registry_id ]]; then account=(--registry-id "$registry_id"); fi
    # Docker's configuration for this run: the registry's password goes with it. The engine is the user's choice still.
    run_folder "$root/.cache"
    if ! ((dry_run)); then error_log=$work/error; fi
    if [[ -d $contexts ]]; then
        DOCKER_CONTEXT=$(docker context inspect --format '{{.Name}}')
        export DOCKER_CONTEXT
        run ln -s "$contexts" "$work/contexts"
    fi
}

find_repository() { # repository_uri is empty if there is none yet
    capture repository_uri "${ecr[@]}" describe-repositories "${account[@]}" --repository-names "$repository" \
        --query 'repositories[0].repositoryUri' --output text 2> "$error_log" && return
    grep -q RepositoryNotFoundException "$error_log" || give_up 4 "ask ECR for the repository $repository"
    repository_uri=''
}

make_repository() {
    local encryption=encryptionType=AES256
    if [[ -n $kms_key ]]; then encryption=encryptionType=KMS,kmsKey=$kms_key; fi
    try 4 "make the repository $repository" capture repository_uri "${ecr[@]}" create-repository "${account[@]}" \
        --repository-name "$repository" --image-tag-mutability IMMUTABLE --image-scanning-configuration scanOnPush=true \
        --encryption-configuration "$encryption" --query repository.repositoryUri --output text
    run "${ecr[@]}" put-lifecycle-policy "${account[@]}" --repository-name "$repository" \
        --lifecycle-policy-text file://scripts/image/lifecycle_policy.json > /dev/null 2> "$error_log" && return
    # The next run would find a repository, and leave it as it is.
    "${ecr[@]}" delete-repository "${account[@]}" --repository-name "$repository" > /dev/null || true
    give_up 4 "give the new repository $repository its lifecycle policy"
}

build() {
    local tree
    if [[ -n $image ]]; then return; fi
    tree=$(git status --porcelain) || fail 3 "this is no git checkout, and a tag needs a commit; --image takes an image"
    if [[ -n $tree && $dirty == refuse ]]; then
        fail 3 "uncommitted changes; commit them, or mark the image by --dirty mark:"$'\n'"$tree"
    fi
    image=distilbert-trainer:local
    if [[ $(uname -m) != x86_64 ]]; then image+=-amd64; fi # :local is this machine's own platform's
    run env PLATFORM=linux/amd64 "WEIGHTS=${weights:-minilm}" scripts/build_image.sh "$image" || fail $(($? == 1 ? 5 : $?)) "the build failed, see above"
}

identify() { # the tag comes from what the image says of itself
    capture image_id docker image inspect --format '{{.Id}}' "$image" || fail 5 "the engine has no image $image"
    capture tag "$python" -m scripts.image.identity --dirty "$dirty" "$image_id" || exit
}

describe() {
    run "$python" -m scripts.image.describe "$image_id" "$output" || fail 5 "what is in the image cannot be listed"
}

log_in() {
    local registry=${repository_uri%%/*}
    if ((dry_run)); then registry="\${repository_uri%%/*}"; fi
    # Not by `docker login`: it would hand the password to the platform's credential store, where it would stay.
    try 4 "log in to the registry" pipe "${ecr[@]}" get-login-password '|' "$python" -m scripts.image.registry login \
        --docker-config "$work" "$registry"
}

find_published() { # digest is empty if the tag is free
    try same "compare $tag with the registry's" capture digest "$python" -m scripts.image.registry find \
        --docker-config "$work" "$repository_uri" "$tag" "$image_id"
}

smoke() {
    smoke_container=distilbert-trainer-smoke-$$
    run timeout --foreground 1800 docker run --name "$smoke_container" --label distilbert-trainer=run --network none \
        "$image_id" smoke || fail 6 "the smoke test failed, or took more than 30 minutes; nothing was pushed"
}

push() {
    run docker tag "$image_id" "$repository_uri:$tag"
    pushed_name=$repository_uri:$tag
    try 9 "push the image" run timeout --foreground 3600 docker --config "$work" push "$repository_uri:$tag"
    find_published
    [[ -n $digest ]] || fail 9 "the push was done, and the registry has nothing under $tag"
    pushed_name=''
}

attach() {
    run "$python" -m scripts.image.provenance --record "$output" "$repository_uri" "$digest" \
        || fail 5 "the image's provenance cannot be written"
    try same "attach SBOM and provenance" run "$python" -m scripts.image.registry attach --docker-config "$work" \
        "$repository_uri" "$digest" "application/vnd.cyclonedx+json=$output/sbom.cdx.json" \
        "application/vnd.in-toto+json=$output/provenance.intoto.json"
}

index() { # the image again, in an index with its SOCI index: hosts that can load its layers lazily then start sooner
    local transfer=("$python" -m scripts.image.transfer --docker-config "$work" "$repository_uri")
    if [[ -z $soci ]]; then return; fi
    try same "compare $tag-soci with the registry's" capture soci_digest "${transfer[@]}" soci "$tag-soci" "$digest"
    supposing "the image has no SOCI index yet" test -z "$soci_digest" || return 0
    try same "fetch the image's layers" run "${transfer[@]}" fetch "$digest" "$work/image"
    try 5 "make the SOCI index" run soci convert --standalone --format oci-dir "$work/image" "$work/soci"
    try same "push the SOCI index" capture soci_digest "${transfer[@]}" push "$tag-soci" "$work/soci"
}

sign() {
    local key=()
    if [[ -z $sign_by ]]; then return; fi
    if [[ $sign_by != keyless ]]; then key=(--key "$sign_by"); fi
    try 9 "sign the image" run env DOCKER_CONFIG="$work" cosign sign --yes "${key[@]}" "$repository_uri@$digest" \
        ${soci_digest:+"$repository_uri@$soci_digest"}
}

prepare
find_repository
build
identify
describe
if supposing "the repository exists" test -n "$repository_uri"; then
    log_in
    find_published
fi
if supposing "the tag is free" test -z "$digest"; then
    smoke
    run scripts/image/scan.sh "$image_id" "$output/vulnerabilities.json" "$fail_on" || exit
    if supposing "the repository is missing" test -z "$repository_uri"; then
        make_repository
        log_in
    fi
    push
else
    echo "build_and_push: $repository_uri:$tag is there already, with this content"
fi
attach
index
sign
if ((dry_run)); then exit; fi
if [[ -n $soci ]]; then echo "$soci_digest" > "$output/soci-digest"; fi
echo "$digest" > "$output/digest"
echo "$repository_uri@$digest" >&3
