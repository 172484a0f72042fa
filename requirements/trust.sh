#!/bin/sh
# Sourced by builds: lets pip, uv and apt trust CA_CERT_FILE, the build's secret, besides the usual roots, and has pip
# and uv ask PACKAGE_INDEX_URL, another one. Without them nothing changes. What is made of them is gone with the step.
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
