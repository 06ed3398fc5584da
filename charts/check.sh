#!/usr/bin/env bash
# Check the chart without a cluster: lint it, run its unit tests, render it with every file in ci/, and compare
# README.md with values.yaml. `check.sh --write` generates README.md instead. Requires helm, helm-unittest and helm-docs.
set -euo pipefail
cd "$(dirname "$0")"
readme() { helm-docs --log-level error --template-files README.md.gotmpl --sort-values-order file "$@"; }

if [ "${1:-}" = --write ]; then
    readme
    exit
fi
for values in ci/*-values.yaml; do
    helm lint --strict --quiet . -f "$values"
    helm template night . -f "$values" >/dev/null
done
report=$(helm-unittest .) || { echo "$report"; exit 1; }
readme --dry-run | diff - README.md >/dev/null || { echo "charts/README.md is not up to date with values.yaml; run make docs" >&2; exit 1; }
