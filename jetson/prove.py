"""Proves an environment by its own interpreter before it is used: `python -I - RIG [MODEL_DIR] <prove.py`."""

import importlib
import sys
from pathlib import Path

# module -> the apt package that brings it
MODULES = {
    "numpy": "python3-numpy",
    "cv2": "python3-opencv",
    "gi": "python3-gi",
    "tensorrt": "python3-libnvinfer",
}


def prove(rig: Path, model_dir: Path | None) -> str:
    """Returns what was found in order; SystemExit with one line that names what is not."""
    for module, package in MODULES.items():
        try:
            importlib.import_module(module)
        except Exception as error:
            # A shared library that is missing or broken raises more than ImportError.
            reason = " ".join(str(error).split())
            sys.exit(f"the module {module} cannot be imported ({reason}); reinstall {package} by apt")
    from irvis_runtime import default_model_dir
    from irvis_runtime.contract import checked_model_path, load_manifest
    from irvis_runtime.errors import BackendError, ContractError
    from irvis_runtime.gstreamer import gst
    from irvis_runtime.rig import load_rig

    try:
        gst()
        load_rig(rig)
        model_dir = default_model_dir() if model_dir is None else model_dir
        manifest = load_manifest(model_dir)
        for precision in manifest.files:
            checked_model_path(model_dir, manifest, precision)
    except (BackendError, ContractError) as error:
        sys.exit(str(error))
    return f"{', '.join(MODULES)}, GStreamer, {rig} and the model {manifest.name} are in order"


if __name__ == "__main__":
    sys.stdout.write(f"    {prove(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None)}\n")
