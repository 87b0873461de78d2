#!/usr/bin/env bash
# Makes the virtual environment of the clone: PYTHON, VENV and PIP_ARGS come from the Makefile.
set -euo pipefail

"$PYTHON" - <<'CHECK'
import sys
if sys.version_info < (3, 10):
    sys.exit(f"irvis needs Python 3.10 or newer, {sys.executable} is {sys.version.split()[0]}; try make PYTHON=python3.11")
CHECK

# Where Debian's python3-venv is missing, venv leaves an environment without pip behind.
if ! "$VENV/bin/python" -m pip --version >/dev/null 2>&1; then
  "$PYTHON" -m venv "$VENV" || {
    echo "cannot make a virtual environment with $PYTHON; on Debian: apt-get install python3-venv" >&2
    exit 1
  }
fi

echo "installing Python packages into $VENV (PyTorch is several GB; this takes some minutes)"
install() {
  # shellcheck disable=SC2086 # PIP_ARGS is a list of options
  "$VENV/bin/python" -m pip install --disable-pip-version-check $PIP_ARGS -c constraints.txt "$@"
}
# What builds irvis comes first and once: an isolated build would fetch the compiler of 100 MB a second time.
install 'setuptools>=77' wheel ziglang
install --no-build-isolation -e '.[train,export,quantize,dev]'
"$VENV/bin/python" -c 'import irvis_runtime, torch, onnx'

# PyPI has no Linux wheels of PyGObject and GStreamer: the environment borrows Debian's `gi`, if it is built for this Python.
if ! "$VENV/bin/python" -c 'import gi' 2>/dev/null; then
  site=$("$VENV/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
  suffix=$("$VENV/bin/python" -c 'import sysconfig; print(sysconfig.get_config_var("EXT_SUFFIX"))')
  if [ -e "/usr/lib/python3/dist-packages/gi/_gi$suffix" ]; then
    ln -sfn /usr/lib/python3/dist-packages/gi "$site/gi"
  else
    echo "note: Debian's PyGObject is missing or built for another Python, so live video is left out; try make PYTHON=/usr/bin/python3"
  fi
fi
