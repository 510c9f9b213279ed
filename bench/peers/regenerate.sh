#!/usr/bin/env bash
# Makes the module in collector/ anew from manifest.yaml with the Collector's own builder. Run after changing the manifest, then commit both.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT
GOBIN="$tools" go install go.opentelemetry.io/collector/cmd/builder@v0.161.0
rm -rf collector
"$tools/builder" --config manifest.yaml --skip-compilation
rm -f collector/main_windows.go
