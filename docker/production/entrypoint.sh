#!/usr/bin/env bash
# Starts the given tritonserver command with TLS and with the administration's key, from the files in /run/secrets.
# Triton takes the key on its command line only: `ps` shows it inside this container, and on the host to every user unless /proc hides processes (hidepid).
set -euo pipefail
secrets=/run/secrets

for name in server_certificate server_key client_authority admin_key; do
  [[ -s $secrets/$name ]] || { echo "error: the secret $name is missing or empty; docs/deployment.md makes it" >&2; exit 1; }
  [[ -r $secrets/$name ]] || { echo "error: the secret $name cannot be read by user $(id -u); chown it on the host" >&2; exit 1; }
done
key="$(<"$secrets/admin_key")"
# Triton splits its option at ':' and '='; a header carries no spaces or line ends.
[[ $key =~ ^[A-Za-z0-9_.-]{32,}$ ]] \
  || { echo "error: the secret admin_key must be 32 or more of A-Z a-z 0-9 _ . -; make one: openssl rand -hex 32" >&2; exit 1; }

# What changes the server or shows what others do. Health, metadata, model-config and inference stay open to every client
# whose certificate is good. Client shared memory is off in Triton 26.04 and newer unless --allow-client-shm turns it on.
restricted=shared-memory,model-repository,statistics,trace,logging
options=(
  --grpc-use-ssl=true --grpc-use-ssl-mutual=true
  "--grpc-server-cert=$secrets/server_certificate" "--grpc-server-key=$secrets/server_key"
  "--grpc-root-cert=$secrets/client_authority"
  "--grpc-restricted-protocol=$restricted:admin-key=$key"
  "--http-restricted-api=$restricted:admin-key=$key"
)
nvidia=/opt/nvidia/nvidia_entrypoint.sh # the image's own entry point, which this one has replaced
[[ ! -x $nvidia ]] || exec "$nvidia" "$@" "${options[@]}"
exec "$@" "${options[@]}"
