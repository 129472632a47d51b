#!/bin/bash
# setup-gpu.sh [DIR=.gpu]: software GPUs for the tests, on Debian. Installs what is missing: Chromium (its SwiftShader is one
# Vulkan driver) and lavapipe 25, unpacked privately into DIR (the system's own mesa 22 is too old for Dawn). Idempotent.
set -euo pipefail
fail() {
  echo "setup-gpu: $1"
  exit 1
}
mkdir -p "${1:-.gpu}"
dir=$(cd "${1:-.gpu}" && pwd)
export DEBIAN_FRONTEND=noninteractive

need=()
for p in chromium libvulkan1 libllvm15 libxshmfence1 libwayland-client0 libx11-xcb1 libxcb-dri3-0 libxcb-present0 libxcb-sync1 \
  libxcb-randr0 libxcb-shm0 libxcb-xfixes0 libdrm2 libelf1; do
  [ "$(dpkg-query -W -f='${Status}' "$p" 2>/dev/null)" = 'install ok installed' ] || need+=("$p")
done
if [ ${#need[@]} -eq 0 ] && [ -f "$dir/lvp_icd.json" ] && grep -q "\"$dir/libvulkan_lvp.so\"" "$dir/lvp_icd.json"; then
  echo "ok: $dir/lvp_icd.json"
  exit 0
fi

command -v apt-get >/dev/null && command -v dpkg >/dev/null || fail 'needs apt-get, to install chromium and mesa (Debian 12)'
[ "$(id -u)" -eq 0 ] || fail 'needs root, to install packages with apt-get'
if [ ${#need[@]} -gt 0 ]; then
  apt-get update -qq || fail 'apt-get update failed'
  apt-get install -y -qq --no-install-recommends "${need[@]}" >/dev/null || fail "apt-get could not install ${need[*]}"
fi

icd() {
  printf '{"file_format_version":"1.0.1","ICD":{"library_path":"%s/libvulkan_lvp.so","api_version":"1.4.305"}}\n' "$dir" >"$dir/lvp_icd.json"
}
if [ ! -f "$dir/libvulkan_lvp.so" ]; then
  sources=/etc/apt/sources.list.d/debian.sources
  [ -f "$sources" ] && grep -q bookworm "$sources" || fail "lavapipe 25 comes from bookworm-backports, and $sources names no bookworm"
  # A package list of its own, so that the system's sources stay as they are.
  apt=$(mktemp -d "$dir/apt.XXXXXX")
  trap 'rm -rf "$apt"' EXIT
  mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
  mirror=$(awk '/^URIs:/{print $2; exit}' "$sources")
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror bookworm-backports main" >"$apt/sources.list"
  options=(-o "Dir::Etc::SourceList=$apt/sources.list" -o Dir::Etc::SourceParts=/dev/null -o "Dir::State::Lists=$apt/lists"
    -o "Dir::Cache=$apt/cache" -o APT::Sandbox::User=root)
  apt-get "${options[@]}" update -qq || fail 'the package list of bookworm-backports could not be fetched'
  (cd "$apt" && apt-get "${options[@]}" download -qq mesa-vulkan-drivers/bookworm-backports) || fail 'mesa-vulkan-drivers could not be downloaded'
  dpkg -x "$apt"/mesa-vulkan-drivers_*.deb "$apt/x"
  # Renamed into place last, so that nobody loads half a file.
  mv "$apt/x/usr/lib/x86_64-linux-gnu/libvulkan_lvp.so" "$dir/libvulkan_lvp.so"
fi
missing=$(ldd "$dir/libvulkan_lvp.so" | grep 'not found' || true)
[ -z "$missing" ] || fail "lavapipe lacks ${missing//[$'\n\t']/ }"
icd
echo "ok: $dir/lvp_icd.json"
