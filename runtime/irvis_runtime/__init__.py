"""irvis on the device: two pictures in, one fused picture out."""

from .context import make_context
from .errors import BackendError, ContractError
from .fuser import Fuser
from .shipped_models import default_model_dir

__version__ = "0.1.0"

__all__ = ["BackendError", "ContractError", "Fuser", "default_model_dir", "make_context"]
