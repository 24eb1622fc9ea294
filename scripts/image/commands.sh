# How build_and_push.sh and promote.sh run their commands: shown instead of run under --dry-run, explained where they
# fail. Sourced.
# shellcheck shell=bash
# shellcheck disable=SC2154  # dry_run and error_log are the script's

fail() { # fail EXIT_CODE SENTENCE...
    echo "$(basename "$0" .sh): ${*:2}" >&2
    exit "$1"
}

show() { # show WORD...: as it would be typed; what only a run can know stays $a_variable
    local word line=''
    for word; do
        if [[ ! $word =~ ^[][a-zA-Z0-9_@%+=:,./\$\{\}*\|-]+$ ]]; then printf -v word '%q' "$word"; fi
        line+="$word "
    done
    echo "${line% }" >&3
}

run() { # run COMMAND...
    if ((dry_run)); then show "$@"; else "$@"; fi
}

pipe() { # pipe COMMAND... '|' COMMAND...
    local words=("$@") bar=0
    if ((dry_run)); then show "$@" && return; fi
    while [[ ${words[bar]} != '|' ]]; do bar=$((bar + 1)); done
    "${words[@]:0:bar}" | "${words[@]:bar+1}"
}

capture() { # capture VARIABLE COMMAND...: VARIABLE=$(COMMAND...)
    local captured
    if ((dry_run)); then
        echo "$1=\$($(show "${@:2}" 3>&1))" >&3
        captured="\$$1"
    else
        captured=$("${@:2}") || return
    fi
    printf -v "$1" '%s' "$captured"
}

# A run locks its folder as long as it lives. One that was killed has left the registry's password in its own.
run_folder() { # run_folder PARENT: make the folder `work`, and remove those of runs that were killed
    local left
    if ((dry_run)); then capture work mktemp --directory "$1/push.XXXXXX" && return; fi
    mkdir -p "$1"
    exec 7> "$1/push.lock"
    flock 7 # a run that has its folder, and no lock on it yet, was not killed
    for left in "$1"/push.*/; do
        if [[ -d $left ]] && flock --nonblock "$left" true; then rm -rf "$left"; fi
    done
    work=$(mktemp --directory "$1/push.XXXXXX")
    exec 8< "$work"
    flock --shared 8
    exec 7>&-
}

supposing() { # supposing WHAT TEST...: a dry run supposes everything
    if ((dry_run)); then echo "# if $1:" >&3; else "${@:2}"; fi
}

try() { # try EXIT_CODE|same WHAT COMMAND...: if it fails, advise, and end with that code or the command's own
    local status=0
    "${@:3}" 2> "$error_log" || status=$?
    if ((status)); then give_up "${1/same/$status}" "$2"; fi
}

give_up() { # give_up EXIT_CODE WHAT: for the reason that is in $error_log
    tail -n 20 "$error_log" >&2
    fail "$1" "could not $2: $(advice < "$error_log")"
}

# What to do about what the AWS CLI, Docker or the registry have said.
advice() {
    case $(cat) in
        *'authorization token has expired'* | *'no basic auth credentials'* | *'authentication required'*)
            echo "the registry's login is over; run this again: what the registry has already is not pushed twice" ;;
        *ExpiredToken* | *RequestExpired* | *'Token has expired'* | *'SSO session'*)
            echo "the AWS session is over; get new credentials (aws sso login), then run this again" ;;
        *UnrecognizedClient* | *InvalidClientTokenId* | *InvalidSignature* | *redentials* | *'config profile'*)
            echo "AWS does not take these credentials; 'aws sts get-caller-identity' says whose they are" ;;
        *AccessDenied* | *'not authorized'* | *denied*)
            echo "the role lacks the permission named above; docs/publishing.md lists what a push needs" ;;
        *'another content'*)
            echo "a tag is for good; commit the change, which makes a new tag, or use the image that is there" ;;
        *)
            echo "see above; if nobody answered, check region and network; run this again: what the registry has" \
                "already is not pushed twice" ;;
    esac
}
