#!/bin/sh
# Sourced by builds: lets pip, uv and apt trust CA_CERT_FILE, the build's secret, besides the usual roots. Without it
# nothing changes. The bundle is in memory, and gone with the step.
own=/run/secrets/ca-cert
if [ -s "$own" ]; then
  bundle=/dev/shm/certificates.pem
  cat /etc/ssl/certs/ca-certificates.crt "$own" >"$bundle"
  echo "Acquire::https::CaInfo \"$bundle\";" >/dev/shm/apt.conf
  export SSL_CERT_FILE="$bundle" PIP_CERT="$bundle" REQUESTS_CA_BUNDLE="$bundle" APT_CONFIG=/dev/shm/apt.conf
fi
