#!/usr/bin/env bash
# Generates the Python code beside the .proto files. Usage: regenerate.sh PYTHON [OUTPUT FOLDER]
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
python=$1
out=${2:-$here}
"$python" -m grpc_tools.protoc -I "$here" --python_out="$out" --pyi_out="$out" "$here"/opamp/v1/*.proto
# protoc writes absolute imports; ours live inside a package.
sed -i -e 's/^from opamp\.v1 import/from . import/' "$out"/opamp/v1/*_pb2.py "$out"/opamp/v1/*_pb2.pyi
