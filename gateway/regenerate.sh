#!/usr/bin/env bash
# Makes the module in FOLDER/collector/ anew from FOLDER/manifest.yaml with the Collector's own builder, of the manifest's version.
# Run after changing a manifest, then commit both. Usage: regenerate.sh [FOLDER], by default the gateway's own.
set -euo pipefail
cd "${1:-$(dirname "${BASH_SOURCE[0]}")}"
version=$(sed -n 's|.*go.opentelemetry.io/collector/receiver/otlpreceiver v||p' manifest.yaml)
tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT
GOBIN="$tools" go install "go.opentelemetry.io/collector/cmd/builder@v$version"
rm -rf collector
"$tools/builder" --config manifest.yaml --skip-compilation
rm -f collector/main_windows.go
