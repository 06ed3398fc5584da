#!/usr/bin/env bash
# Check the chart without a cluster: lint, unit tests, the rendering of every file in ci/, and that README.md is what
# values.yaml says. Needs helm, helm-unittest and helm-docs; `check.sh --write` writes README.md anew.
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
said=$(helm-unittest .) || { echo "$said"; exit 1; }
readme --dry-run | diff - README.md >/dev/null || { echo "charts/README.md is not what values.yaml says: make docs" >&2; exit 1; }
