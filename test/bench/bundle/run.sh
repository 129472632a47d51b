#!/bin/bash
# run.sh [smoke] [probe|conformance|bench|tune]...: the steps, all by default; each writes OUT/STEP.jsonl. Exit status 1 when one failed.
# smoke: toy shapes, to prove that everything runs. Environment: OUT (default ./out), ICD (the driver's Vulkan manifest; default:
# NVIDIA's, found or written), LIMIT (seconds a step may take, default 900).
set -uo pipefail
cd "$(dirname "$0")" || exit 1
here=$PWD
export OUT=${OUT:-$here/out} LIMIT=${LIMIT:-900} HOME=${HOME:-/tmp}
mkdir -p "$OUT" || exit 1
borrowed=$(mktemp -d) || exit 1
trap 'rm -rf "$borrowed"' EXIT

# Shared libraries: the machine's own come first, ours stand in for those that it lacks.
for library in lib/*; do
  ldconfig=$(PATH=$PATH:/sbin:/usr/sbin command -v ldconfig)
  [ -n "$ldconfig" ] && "$ldconfig" -p 2>/dev/null | grep -qF "$(basename "$library") (" || ln -s "$here/$library" "$borrowed/"
done
export LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$borrowed

search() {
  find /etc /usr /lib /lib64 /opt /run "$@" -print -quit 2>/dev/null
}
icd=${ICD:-${VK_DRIVER_FILES:-${VK_ICD_FILENAMES:-}}}
[ -n "$icd" ] || icd=$(search -name nvidia_icd.json)
if [ -z "$icd" ]; then
  driver=$(search \( -name libGLX_nvidia.so.0 -o -name libEGL_nvidia.so.0 \))
  if [ -n "$driver" ]; then
    icd=$borrowed/nvidia_icd.json
    printf '{"file_format_version":"1.0.0","ICD":{"library_path":"%s","api_version":"1.3.0"}}\n' "$driver" >"$icd"
    LD_LIBRARY_PATH=$LD_LIBRARY_PATH:$(dirname "$driver")
  fi
fi
[ -n "$icd" ] || echo "no Vulkan driver was found; name its manifest in ICD"
export VK_ICD_FILENAMES=$icd VK_DRIVER_FILES=$icd XDG_RUNTIME_DIR=${XDG_RUNTIME_DIR:-/tmp}
echo "driver: ${icd:-none}"
command -v nvidia-smi >/dev/null && nvidia-smi --query-gpu=name,driver_version,clocks.max.sm,clocks.max.mem --format=csv,noheader

chmod +x node
./node test/bench/bundle/steps.ts "$@"
