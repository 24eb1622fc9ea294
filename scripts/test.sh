#!/usr/bin/env bash
# Run every test tier that this machine can run, and say which it cannot, and why. All run, whatever fails; the exit
# code says whether one did.
#
#   make test
set -euo pipefail
cd "$(dirname "$0")/.."

unset PYTHONDONTWRITEBYTECODE # each tier, and each program that a test starts, would compile the same files anew

results=()
failed=0

run_tier() { # run_tier NAME COMMAND...
    local begin=$SECONDS result=passed
    echo
    echo "=== $1"
    "${@:2}" || { result=FAILED && failed=1; }
    results+=("$(printf '%-12s %-9s %4s s' "$1" "$result" $((SECONDS - begin)))")
}

leave_out() { # leave_out NAME REASON
    results+=("$(printf '%-12s %-9s %s' "$1" 'left out' "$2")")
}

pytest=(.venv/bin/python -m pytest --quiet --durations 5)
# A process for each core, each with TensorFlow loaded.
in_parallel=(--numprocesses auto)

run_tier python scripts/host_python.sh
if ((failed)); then
    echo "nothing can be tested without .venv" >&2
    exit 1
fi
run_tier lint scripts/lint.sh
# By file: what the tests of a file share, such as a trained model, is made once.
run_tier unit "${pytest[@]}" "${in_parallel[@]}" --dist loadfile -m 'not slow and not image and not docker and not browser and not conformance'
run_tier weights scripts/host_weights.sh # once, before several processes ask for them
# By test, as one file may hold most of it: a process that has none left takes from the other's.
run_tier slow "${pytest[@]}" "${in_parallel[@]}" --dist worksteal -m 'slow and not image'
if why=$(scripts/browser.sh 2>&1); then
    run_tier browser "${pytest[@]}" -m browser
else
    leave_out browser "$why"
fi
if why=$(scripts/engine.sh 2>&1); then
    run_tier docker "${pytest[@]}" -m docker
    run_tier 'image build' scripts/build_image.sh
    if ((failed)) && [[ ${results[-1]} == *FAILED* ]]; then
        leave_out image 'there is no image'
    else
        run_tier image "${pytest[@]}" -m image
    fi
else
    leave_out image "$why"
fi

echo
printf '%s\n' "${results[@]}"
exit "$failed"
