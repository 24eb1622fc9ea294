#!/usr/bin/env bash
# Look for known vulnerabilities with the scanner of PATH, grype or trivy, and write its report. With a severity, exit
# with 7 if there is one that bad or worse. Without a scanner there is no report, and with a severity that is an error.
#
#   scripts/image/scan.sh IMAGE REPORT [low|medium|high|critical]
set -euo pipefail

image=$1 report=$2 severity=${3:-}
limit=(timeout --foreground 900)

if command -v grype > /dev/null; then
    scanner=grype
    command=(grype "docker:$image" --output json --file "$report" ${severity:+--fail-on "$severity"})
elif command -v trivy > /dev/null; then
    scanner=trivy
    command=(trivy image --scanners vuln --format json --output "$report")
    if [[ -n $severity ]]; then
        worse=LOW,MEDIUM,HIGH,CRITICAL
        command+=(--severity "${severity^^}${worse#*"${severity^^}"}" --exit-code 7)
    fi
    command+=("$image")
elif [[ -n $severity ]]; then
    echo "scan: neither grype nor trivy is in PATH, and --fail-on $severity asks for one" >&2
    exit 1
else
    echo "scan: neither grype nor trivy is in PATH: no vulnerability report"
    exit
fi

rm -f "$report"
if ! "${limit[@]}" "${command[@]}"; then
    if [[ ! -s $report ]]; then
        echo "scan: $scanner failed or took more than 15 minutes; it wrote no report" >&2
        exit 1
    fi
    echo "scan: $scanner found vulnerabilities of severity $severity or worse, or failed; see $report" >&2
    exit 7
fi
echo "scan: $scanner's report is $report"
