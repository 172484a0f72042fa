#!/bin/sh
# Sourced by builds: makes pip, uv and apt trust the build secret CA_CERT_FILE in addition to the usual roots, and pip
# and uv use the build secret PACKAGE_INDEX_URL. Without them, nothing changes. Nothing of them outlasts the build step.
own=/run/secrets/ca-cert
if [ -s "$own" ]; then
  bundle=/dev/shm/certificates.pem
  cat /etc/ssl/certs/ca-certificates.crt "$own" >"$bundle"
  echo "Acquire::https::CaInfo \"$bundle\";" >/dev/shm/apt.conf
  export SSL_CERT_FILE="$bundle" PIP_CERT="$bundle" REQUESTS_CA_BUNDLE="$bundle" APT_CONFIG=/dev/shm/apt.conf
fi
if [ -s /run/secrets/package-index ]; then
  PIP_INDEX_URL=$(cat /run/secrets/package-index)
  export PIP_INDEX_URL UV_DEFAULT_INDEX="$PIP_INDEX_URL"
fi
