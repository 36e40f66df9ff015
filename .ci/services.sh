# Sourced by .ci/run where it runs as root on Debian: what the tests of the containers, the monitoring, the cluster's
# manifests and the report's page need, installed where it is missing, started, and ended with the run. Whatever fails
# here is said, and the tests that need it are skipped with their reason.
cache="$PWD/.cache/ci"
data_root=""
export DEBIAN_FRONTEND=noninteractive

services_install() {
  local missing=() pair
  for pair in dockerd:docker.io prometheus:prometheus prometheus-blackbox-exporter:prometheus-blackbox-exporter \
    mmdebstrap:mmdebstrap openssl:openssl chromium:chromium; do
    command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
  done
  [ ${#missing[@]} -eq 0 ] && return
  echo "installing ${missing[*]}"
  # Debian starts what it installs, where it can: here nothing but what the tests start is to run.
  local policy=/usr/sbin/policy-rc.d own=""
  [ -e $policy ] || { printf '#!/bin/sh\nexit 101\n' >$policy && chmod 755 $policy && own=yes; }
  local code=0
  timeout 300 apt-get -qq update && timeout 600 apt-get -qq install --yes --no-install-recommends "${missing[@]}" >/dev/null \
    || code=$?
  [ -z "$own" ] || rm $policy
  return $code
}

# The Debian mirror that this machine installs from.
services_mirror() {
  apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | head -n 1
}

# Debian 12 has no compose plugin that reads these files, and no kustomize; Debian 13's run on it as they are.
services_tools() {
  mkdir -p "$cache/docker/cli-plugins" "$cache/bin" "$cache/debian13/lists/partial"
  local wanted=()
  docker compose version --short 2>/dev/null | grep -qE '^v?([3-9]|2\.(2[4-9]|[3-9][0-9]))' || wanted+=(docker-compose)
  command -v kustomize kubectl >/dev/null || wanted+=(kustomize)
  if [ ${#wanted[@]} -gt 0 ] && ! ls "$cache"/debian13/*.deb >/dev/null 2>&1; then
    (
      cd "$cache/debian13"
      echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $(services_mirror) trixie main" >sources.list
      options=(-qq -o Dir::Etc::SourceList="$PWD/sources.list" -o Dir::Etc::SourceParts=/dev/null
        -o Dir::State::Lists="$PWD/lists" -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= -o APT::Sandbox::User=root)
      timeout 300 apt-get "${options[@]}" update && timeout 300 apt-get "${options[@]}" download "${wanted[@]}"
      for package in *.deb; do dpkg-deb --extract "$package" root; done
    )
  fi
  export DOCKER_CONFIG="$cache/docker" PATH="$cache/bin:$PATH"
  [ ! -e "$cache/debian13/root/usr/libexec/docker/cli-plugins/docker-compose" ] \
    || cp "$cache/debian13/root/usr/libexec/docker/cli-plugins/docker-compose" "$cache/docker/cli-plugins/"
  [ ! -e "$cache/debian13/root/usr/bin/kustomize" ] || cp "$cache/debian13/root/usr/bin/kustomize" "$cache/bin/"
}

# An engine of its own, with its own data, socket and containerd: nothing of the machine's is touched.
services_docker() {
  timeout 20 docker info >/dev/null 2>&1 && return
  data_root="$(mktemp -d /var/tmp/ci-docker.XXXXXX)"
  export DOCKER_HOST="unix://$data_root/docker.sock"
  setsid dockerd --data-root "$data_root/data" --exec-root "$data_root/exec" --pidfile "$data_root/pid" \
    --host "$DOCKER_HOST" >"$data_root/log" 2>&1 &
  local tries
  for tries in $(seq 60); do
    timeout 20 docker info >/dev/null 2>&1 && return
    sleep 0.5
  done
  echo "the Docker engine does not start: $(tail -n 1 "$data_root/log")"
}

# No registry is needed: a base image is made of Debian's packages, and wheels are copied in.
services_base() {
  local packages=python3,python3-venv,libpython3.11,curl,ca-certificates,nginx-light
  [ -s "$cache/base.tar" ] || { timeout 900 mmdebstrap --quiet --variant=minbase --include=$packages bookworm \
    "$cache/base.new.tar" "$(services_mirror)" && mv "$cache/base.new.tar" "$cache/base.tar"; } || return 1
  docker import "$cache/base.tar" ci-base >/dev/null
}

services_wheels() {
  local wheels="$PWD/.cache/wheels" stamp
  stamp="$(sha256sum requirements/server.txt)"
  [ "$(cat "$wheels/.of" 2>/dev/null)" != "$stamp" ] || return 0
  rm -rf "$wheels" && mkdir -p "$wheels"
  timeout 900 "$1" -m pip download --quiet --disable-pip-version-check --dest "$wheels" \
    --requirement requirements/server.txt 2>/dev/null || return 1
  echo "$stamp" >"$wheels/.of"
}

services_policy() {
  local stamp
  stamp="$(sha256sum requirements/policy.txt)"
  [ "$(cat .cache/policy/.of 2>/dev/null)" != "$stamp" ] || return 0
  python3 -m venv --clear .cache/policy || return 1
  timeout 900 .cache/policy/bin/python -m pip install --quiet --disable-pip-version-check \
    --requirement requirements/policy.txt 2>/dev/null || return 1
  echo "$stamp" >.cache/policy/.of
}

# What takes long and needs no hand: beside the linters. Python 3.11 is the base image's.
services_prepare() {
  (services_base || echo "no base image could be made") &
  preparing=($!)
  (services_policy || echo "the policy tools could not be installed") &
  preparing+=($!)
  if command -v python3.11 >/dev/null; then
    (services_wheels "$(command -v python3.11)" || echo "no wheels could be downloaded") &
    preparing+=($!)
  fi
}

services_wait() {
  local pid
  for pid in "${preparing[@]}"; do
    timeout 1200 tail --pid="$pid" -f /dev/null || echo "still not prepared after 20 minutes: goes on without"
  done
  if docker image inspect ci-base >/dev/null 2>&1; then
    export BASE=ci-base PROXY_IMAGE=ci-base
  fi
  if [ -e .cache/wheels/.of ]; then
    export IMAGE_WHEELS=/context/.cache/wheels # for the image alone: this machine's pip reads PIP_*
  fi
}

services_end() {
  [ -n "$data_root" ] || return 0
  local pid tries
  pid="$(cat "$data_root/pid" 2>/dev/null || true)"
  if [ -n "$pid" ]; then
    kill "$pid" 2>/dev/null || true
    for tries in $(seq 60); do
      [ -d "/proc/$pid" ] || break
      sleep 0.5
    done
  fi
  findmnt --list --noheadings --output TARGET | grep "^$data_root/" | sort -r | xargs --no-run-if-empty umount --lazy || true
  rm -rf "$data_root"
}
