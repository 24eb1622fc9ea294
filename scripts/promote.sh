#!/usr/bin/env bash
# Run a pushed image's smoke test as a SageMaker job, and give a production repository that image: by digest, with its
# SBOM, provenance and signatures. Print its URI there, the only line on stdout.
#
#   scripts/promote.sh --to production/distilbert-trainer --role ROLE_ARN "$(scripts/build_and_push.sh)"
set -euo pipefail

root=$(realpath "$(dirname "$0")/..")
# shellcheck source=scripts/image/commands.sh
source "$root/scripts/image/commands.sh"
region=${AWS_REGION:-${AWS_DEFAULT_REGION:-}} profile=() registry_id='' repository=${ECR_PRODUCTION_REPOSITORY:-}
role=${SAGEMAKER_ROLE_ARN:-} instance_type=ml.c5.2xlarge job='' image='' dry_run=0

usage() {
    cat << 'END'
Usage: scripts/promote.sh [OPTION...] REGISTRY/REPOSITORY@sha256:DIGEST

Run the image's smoke test as a SageMaker Processing job. If that completes, copy the image to another repository of the
region, byte by byte, with all that refers to it, under its own tag. Print its URI there.

  --to REPOSITORY      else ECR_PRODUCTION_REPOSITORY; it has to exist
  --registry-id ID     its account; else the credentials' own
  --role ARN           that the job runs as; else SAGEMAKER_ROLE_ARN
  --instance-type TYPE else ml.c5.2xlarge
  --job NAME           take this smoke job's result and start none; it must have run this digest
  --region REGION      else AWS_REGION, AWS_DEFAULT_REGION, the profile's
  --profile PROFILE    else as the AWS CLI finds credentials: AWS_PROFILE, ...
  --dry-run            print each command, run none
  --help               this

Exit codes: 0 promoted, or there already; 1 a tool is missing; 2 usage; 3 an image of no commit; 4 AWS refuses;
  5 no image that a job could run; 6 the smoke job did not complete; 8 another digest than the one asked for;
  9 a registry refuses, or is lost
END
}

while (($#)); do
    case $1 in
        --dry-run) dry_run=1 && shift && continue ;;
        --help) usage && exit ;;
        --*) [[ -n ${2:-} ]] || fail 2 "$1 is no option, or lacks its value; --help lists the options" ;;
        *) image=$1 && shift && continue ;;
    esac
    case $1 in
        --to) repository=$2 ;;
        --registry-id) registry_id=$2 ;;
        --role) role=$2 ;;
        --instance-type) instance_type=$2 ;;
        --job) job=$2 ;;
        --region) region=$2 ;;
        --profile) profile=(--profile "$2") ;;
        *) fail 2 "$1 is no option; --help lists them" ;;
    esac
    shift 2
done
staging=${image%@*} digest=${image#*@}
[[ $staging == */* && $digest =~ ^sha256:[0-9a-f]{64}$ ]] \
    || fail 2 "'$image' is no image by digest (REGISTRY/REPOSITORY@sha256:...): a tag could be another's by now"
[[ -n $repository ]] || fail 2 "no repository to promote to: name one by --to or ECR_PRODUCTION_REPOSITORY"
[[ -n $role || -n $job ]] || fail 2 "the smoke job needs a role: name one by --role or SAGEMAKER_ROLE_ARN"

exec 3>&1 >&2 # what commands print is talk; stdout, now 3, is for the result
cd "$root"
PATH=$PATH:$root/.venv/bin # the AWS CLI of the tests, where PATH has none
python=.venv/bin/python

production='' tag='' work='' error_log=/dev/null
clean_up() {
    if ((!dry_run)); then rm -rf "$work"; fi
}
trap clean_up EXIT

prepare() {
    command -v aws > /dev/null || fail 1 "aws is not in PATH: install it"
    [[ -x $python ]] || run scripts/host_python.sh || fail 1 "this needs .venv; scripts/host_python.sh makes it"
    [[ -n $region ]] || region=$(aws "${profile[@]}" configure get region) \
        || fail 2 "no region: name one by --region or AWS_REGION"
    aws=(aws --region "$region" "${profile[@]}" --cli-connect-timeout 10 --cli-read-timeout 60)
    run_folder "$root/.cache"
    if ((!dry_run)); then error_log=$work/error; fi
}

find_production() {
    local account=()
    if [[ -n $registry_id ]]; then account=(--registry-id "$registry_id"); fi
    try 4 "find the repository $repository" capture production "${aws[@]}" ecr describe-repositories "${account[@]}" \
        --repository-names "$repository" --query 'repositories[0].repositoryUri' --output text
    [[ $production != "$staging" ]] || fail 2 "$repository is where the image is already"
}

log_in() {
    local registries=("${staging%%/*}" "${production%%/*}")
    if ((dry_run)); then registries[1]="\${production%%/*}"; fi
    try 4 "log in to the registries" pipe "${aws[@]}" ecr get-login-password '|' "$python" -m scripts.image.registry \
        login --docker-config "$work" "${registries[@]}"
}

start_smoke_job() {
    local request
    job=smoke-${tag//[^a-zA-Z0-9]/-}-$(date -u +%H%M%S)
    request=$(printf '{"ProcessingJobName": "%s", "RoleArn": "%s", "AppSpecification": {"ImageUri": "%s",
        "ContainerArguments": ["smoke"]}, "ProcessingResources": {"ClusterConfig": {"InstanceCount": 1,
        "InstanceType": "%s", "VolumeSizeInGB": 30}}, "StoppingCondition": {"MaxRuntimeInSeconds": 1800},
        "NetworkConfig": {"EnableNetworkIsolation": true}}' "${job:0:63}" "$role" "$image" "$instance_type" | tr -s ' \n' ' ')
    job=${job:0:63}
    try 4 "start the smoke job $job" run "${aws[@]}" sagemaker create-processing-job --cli-input-json "$request"
}

await_smoke_job() {
    local said status='' ran='' command='' reason='' pause=1
    if ((dry_run)); then
        show "${aws[@]}" sagemaker describe-processing-job --processing-job-name "$job"
        return
    fi
    echo "promote: waiting for the Processing job $job"
    while :; do
        try 4 "ask for the smoke job $job" capture said "${aws[@]}" sagemaker describe-processing-job \
            --processing-job-name "$job" --output text \
            --query '[ProcessingJobStatus, AppSpecification.ImageUri, AppSpecification.ContainerArguments[0], FailureReason]'
        IFS=$'\t' read -r status ran command reason <<< "$said"
        [[ $ran == "$image" && $command == smoke ]] \
            || fail 8 "the job $job ran '$command' of $ran, not the smoke test of $image; nothing was promoted"
        case $status in
            Completed) return ;;
            Failed | Stopped | Stopping) fail 6 "the smoke job $job ended as $status ($reason); nothing was promoted" ;;
        esac
        sleep "$pause"
        pause=$((pause < 16 ? pause * 2 : 16))
    done
}

prepare
find_production
log_in
transfer=("$python" -m scripts.image.transfer --docker-config "$work" "$staging")
try same "read the image" capture tag "${transfer[@]}" tag "$digest"
if [[ -z $job ]]; then start_smoke_job; fi
await_smoke_job
try same "promote the image" capture digest "${transfer[@]}" copy "$digest" "$production"
if ((dry_run)); then exit; fi
echo "promote: $production:$tag"
echo "$production@$digest" >&3
