#!/bin/sh
# Makes a folder in which `--backend tensorflow` finds @tensorflow/tfjs-node without that package's own download: its binding is compiled
# from the sources npm brings, against the headers and libraries inside TensorFlow's wheel on PyPI.
#   test/tensorflow/build.sh FOLDER [WHEEL]
# WHEEL: a tensorflow or tensorflow_cpu wheel of this machine; default: `pip download` fetches the newest (270 MB). Where there is none,
# nothing is built, and it says so. Afterwards: GRAFT_TENSORFLOW=FOLDER node bin/test.mjs tensorflow
#
# The package was made for libtensorflow 2.9.1; with 2.21's its binding compiles and works as it is, the C API having stayed the same. The wheel
# calls libtensorflow libtensorflow_cc. The package asks `util` for two tests
# that Node 23 took away: graft's loader (kernels/src/tensorflow.ts) puts them back.
#
# From an empty folder, with TensorFlow 2.21, all of this takes two and a half minutes on two busy cores; the tests pass. A LoRA step of MiniLM,
# 8x128 tokens, then takes 0.89 s of processor time and 1199 MiB, beside 0.53 s and 298 MiB on graft-cpu.
set -eu
here=$(cd "$(dirname "$0")/../.." && pwd)
folder=${1:?a folder is missing: test/tensorflow/build.sh FOLDER [WHEEL]}
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
python=${PYTHON:-python3}
wheel=${2:-}
if [ -z "$wheel" ]; then
  "$python" -m pip download --quiet --no-deps --dest "$folder/wheels" tensorflow-cpu >&2 || true
  wheel=$(ls "$folder"/wheels/tensorflow*.whl 2>/dev/null | tail -n 1)
fi
if [ ! -f "$wheel" ]; then
  echo 'skipped: no wheel of TensorFlow is at hand (pip download --no-deps tensorflow-cpu gets one)'
  exit 0
fi

# --ignore-scripts: the install script would download libtensorflow.
npm install --prefix "$folder" --ignore-scripts --no-audit --no-fund --loglevel=error @tensorflow/tfjs-node@4.22.0
package=$folder/node_modules/@tensorflow/tfjs-node

"$python" - "$wheel" "$folder/wheel" <<'PY'
import sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as wheel:
    wanted = tuple(f"tensorflow/{p}" for p in ("libtensorflow_", "include/tensorflow/c/", "include/tensorflow/core/platform/", "include/tsl/", "include/xla/tsl/"))
    wheel.extractall(sys.argv[2], [n for n in wheel.namelist() if n.startswith(wanted)])
PY
mkdir -p "$package/deps/lib"
mv "$folder"/wheel/tensorflow/libtensorflow_* "$package/deps/lib/"

# Where the package looks: lib/napi-vN for the highest N that it lists and node speaks.
version=$(node -p "Math.max(...require('$package/package.json').binary.napi_versions.filter((n) => n <= process.versions.napi))")
mkdir -p "$package/lib/napi-v$version"
${CXX:-g++} -std=c++17 -O2 -fPIC -shared -DNAPI_VERSION="$version" -o "$package/lib/napi-v$version/tfjs_binding.node" \
  -I "$here/node_modules/node-api-headers/include" -I "$folder/wheel/tensorflow/include" -I "$package" \
  "$package/binding/tfjs_backend.cc" "$package/binding/tfjs_binding.cc" \
  -L"$package/deps/lib" -l:libtensorflow_cc.so.2 -l:libtensorflow_framework.so.2 '-Wl,-rpath,$ORIGIN/../../deps/lib'
rm -r "$folder/wheel"
cd "$folder"
TF_CPP_MIN_LOG_LEVEL=2 node -p "const tf = require('@tensorflow/tfjs-node'), b = tf.backend(); tf.matMul([[3]], [[4]]).dataSync()[0] === 12 ? 'TensorFlow ' + b.binding.TF_Version + ' computes on the ' + (b.isUsingGpuDevice ? 'GPU' : 'CPU') : process.exit(1)"
