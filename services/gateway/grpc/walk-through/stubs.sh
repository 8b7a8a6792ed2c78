#!/bin/sh
# Makes the Python stubs of the contracts that the walk-through needs: stubs.sh FOLDER
# Debian: apt-get install python3-grpcio protobuf-compiler protobuf-compiler-grpc libprotobuf-dev
set -eu
cd "$(dirname "$0")/../../../../proto"
protoc -I . --python_out="$1" --grpc_python_out="$1" \
  --plugin=protoc-gen-grpc_python="$(command -v grpc_python_plugin)" \
  bmm/generator/v1/server.proto bmm/generator/v1/generator_service.proto \
  bmm/gateway/v1/tool_service.proto bmm/v1/options.proto bmm/v1/statement.proto \
  buf/validate/validate.proto
