#!/bin/sh
# Attaches this machine to the platform as a worker; docs/workers.md. PYTHON names an interpreter other than python3.
set -eu
python=${PYTHON:-python3}
command -v "$python" >/dev/null || {
  echo "attach: $python is not installed; install Python 3.11 or newer, or set PYTHON" >&2
  exit 1
}
exec "$python" "$(dirname "$0")/attach" "$@"
