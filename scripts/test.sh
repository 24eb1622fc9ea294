#!/usr/bin/env bash
# Run every test tier that this machine can run, and say which it cannot, and why. All run, whatever fails; the exit
# code says whether one did. CONTRIBUTING.md says what each tier holds.
#
# Two lanes run side by side, because containers wait a lot and most tiers keep one core busy:
#   machine:    python, lint, unit, weights, mlflow, slow, browser
#   containers: engine and image build (while .venv is being made), docker, image, registry
# What a tier prints appears when the tier has ended; until then it is in .cache/test-logs/.
#
#   make test
#   make test TIERS="unit docker"       # only these; what they need is made all the same
set -euo pipefail
cd "$(dirname "$0")/.."

unset PYTHONDONTWRITEBYTECODE # each tier, and each program that a test starts, would compile the same files anew

logs=.cache/test-logs
rm -rf "$logs"
mkdir -p "$logs"
state=$(mktemp --directory)
trap 'rm -rf "$state"' EXIT

chosen=("$@")
wants() { # wants TIER...: success if one of them is to run
    local name
    for name in "$@"; do
        if [[ ${#chosen[@]} == 0 || " ${chosen[*]} " == *" $name "* ]]; then return; fi
    done
    return 1
}
for name in "${chosen[@]}"; do
    if [[ " lint unit slow browser registry docker image " != *" $name "* ]]; then
        echo "test: there is no tier $name; write lint, unit, slow, browser, registry, docker or image" >&2
        exit 2
    fi
done

pytest=(.venv/bin/python -m pytest --quiet --durations 10)
# A process for each core, each with TensorFlow loaded. By file: what the tests of a file share, such as a trained
# model, is made once.
in_parallel=(--numprocesses auto --dist loadfile)
# Reading these loads TensorFlow, five CPU seconds a process, and none of their tests needs Docker or a browser.
with_tensorflow=(tests/src tests/benchmarks tests/scripts)
without_tensorflow=("${with_tensorflow[@]/#/--ignore=}")

run_tier() { # run_tier NAME COMMAND...: keep its result for `await`; success if the command succeeds
    local tier=${1/weights/slow} # what a tier needs is prepared only with it
    [[ $1 == @(python|image build) ]] || wants "${tier/mlflow/slow}" || return 0
    local name=$1 log=$logs/${1// /-}.log begin=$SECONDS result=passed
    "${@:2}" > "$log" 2>&1 || result=FAILED
    {
        flock 9
        printf '\n=== %s\n' "$name"
        cat "$log"
        printf '%-12s %-9s %4s s\n' "$name" "$result" $((SECONDS - begin)) | tee -a "$state/results"
    } 9> "$state/lock"
    echo "$result" > "$state/.$name" && mv "$state/.$name" "$state/$name" # whole, for whoever awaits it
    [[ $result == passed ]]
}

unit_tests() { # three processes, one of which needs TensorFlow; the launcher's tests wait more than they compute
    local failed=0 trainer=$logs/unit-trainer.log launcher=$logs/unit-launcher.log running=()
    local quick=(-m 'not slow and not image and not docker and not browser and not conformance')
    "${pytest[@]}" "${quick[@]}" "${with_tensorflow[@]}" > "$trainer" 2>&1 &
    running+=("$!")
    "${pytest[@]}" "${quick[@]}" tests/launcher > "$launcher" 2>&1 &
    running+=("$!")
    "${pytest[@]}" "${quick[@]}" "${without_tensorflow[@]}" --ignore tests/launcher || failed=1
    local process
    for process in "${running[@]}"; do wait "$process" || failed=1; done
    cat "$launcher" "$trainer"
    return "$failed"
}

leave_out() { # leave_out NAME REASON
    printf '%-12s %-9s %s\n' "$1" 'left out' "$2" >> "$state/results"
    echo 'left out' > "$state/$1"
}

await() { # await NAME: wait for the end of a tier of the other lane; success if it passed
    until [[ -e $state/$1 ]]; do sleep 1; done
    [[ $(< "$state/$1") == passed ]]
}

host_lane() {
    trap 'exit 130' INT
    run_tier python scripts/host_python.sh || return 0
    run_tier lint scripts/lint.sh || true
    run_tier unit unit_tests || true
    run_tier weights scripts/host_weights.sh || true # once, before several processes ask for them
    run_tier mlflow scripts/extra_venv.sh mlflow linters || true
    run_tier slow "${pytest[@]}" "${in_parallel[@]}" -m 'slow and not image and not docker' || true
    local why
    if ! wants browser; then
        :
    elif why=$(scripts/browser.sh 2>&1); then
        run_tier browser "${pytest[@]}" "${without_tensorflow[@]}" -m browser || true
    else
        leave_out browser "$why"
    fi
}

docker_lane() {
    trap 'exit 130' INT
    wants docker image registry || return 0
    local why
    if ! why=$(scripts/engine.sh 2>&1); then
        leave_out 'image build' "$why"
        leave_out docker "$why"
        leave_out image "$why"
        leave_out registry "$why"
        return
    fi
    run_tier 'image build' scripts/build_image.sh || true
    await python || return 0
    run_tier docker "${pytest[@]}" "${in_parallel[@]}" "${without_tensorflow[@]}" -m docker || true
    if await 'image build'; then
        run_tier image "${pytest[@]}" "${in_parallel[@]}" "${without_tensorflow[@]}" --ignore tests/registry -m image || true
        run_tier registry "${pytest[@]}" -m image tests/registry || true
    else
        leave_out image 'there is no image'
        leave_out registry 'there is no image'
    fi
}

set -m # a process group for each lane
host_lane &
host=$!
docker_lane &
docker=$!
set +m
trap 'kill -INT -- "-$host" "-$docker" 2> /dev/null; wait; exit 130' INT TERM
wait "$host" || echo 'the lane of the machine FAILED' >> "$state/results"
wait "$docker" || echo 'the lane of the containers FAILED' >> "$state/results"

echo
cat "$state/results"
if [[ $(< "$state/python") != passed ]]; then
    echo "nothing can be tested without .venv" >&2
fi
! grep -q FAILED "$state/results"
