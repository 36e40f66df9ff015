#!/usr/bin/env bash
# Prometheus on this machine's loopback, with the rules, and the exporter that probes readiness where it is installed.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
data="${DATA:-$here/../../.cache/prometheus}"

command -v prometheus >/dev/null \
  || { echo "error: Prometheus is not installed; on Debian and Ubuntu: apt install prometheus prometheus-blackbox-exporter" >&2; exit 1; }
mkdir -p "$data"
exporter="$(command -v prometheus-blackbox-exporter || command -v blackbox_exporter || true)"
if [ -n "$exporter" ]; then
  "$exporter" --config.file="$here/blackbox.yml" --web.listen-address=127.0.0.1:9115 2>"$data/blackbox.log" &
  probing=$!
else
  echo "blackbox_exporter is not installed: readiness is not probed (apt install prometheus-blackbox-exporter)" >&2
fi
prometheus --config.file="$here/prometheus.local.yml" --storage.tsdb.path="$data" \
  --web.listen-address=127.0.0.1:"${PORT:-9090}" --log.level=warn &
watching=$!
# Ctrl-C in a terminal reaches all three; a signal to this script is passed on.
trap 'kill $watching ${probing:-} 2>/dev/null || true' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
echo "Prometheus watches 127.0.0.1:8002 at http://127.0.0.1:${PORT:-9090}; alerts: /alerts; Ctrl-C stops it" >&2
wait "$watching"
