"""Fitted scikit-learn objects and `Features` on disk, by skops: no code runs when a file is read (DESIGN 9.10)."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, BadZipFile

import numpy as np

from competition import artifacts, versions
from competition.errors import EnvironmentFault, Finding, SafetyFault

# All that our files hold beyond what skops trusts by itself.
TRUSTED = [
    "competition.tabular.columns.Column",
    "competition.tabular.features.Features",
    "competition.tabular.derive.Derived",
    "competition.tabular.encoders.Levels",
    "competition.tabular.encoders.TargetMeans",
    "competition.tabular.encoders.Text",
    "competition.tabular.encoders.Scaling",
    "functools.partial",  # of trusted functions only; HistGradientBoosting checks its categories by one
    "sklearn.utils.validation.check_array",
    "sklearn.model_selection._split.KFold",
    "sklearn.tree._tree.Tree",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
]


def to_bytes(model: Any) -> bytes:
    """Packed: what words weigh is an eighth (titanic: 1.2 in place of 9.1 MB a model), and a level of 1 is hardly slower."""
    import skops.io  # 4 s, for it brings all of scikit-learn

    return skops.io.dumps(model, compression=ZIP_DEFLATED, compresslevel=1)


def save(model: Any, path: Path) -> None:
    artifacts.write_bytes(path, to_bytes(model))


def load(path: Path, device: str = "cpu") -> Any:
    """Raises SafetyFault SKOPS-TYPE where the file holds what we never write, EnvironmentFault CKPT-CORRUPT."""
    import skops.io
    from sklearn.exceptions import InconsistentVersionWarning
    from skops.io.exceptions import UntrustedTypesFoundException

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", InconsistentVersionWarning)  # predict.py tells once
            return skops.io.load(path, trusted=TRUSTED)
    except UntrustedTypesFoundException as e:
        raise SafetyFault(
            Finding(
                code="SKOPS-TYPE",
                what="a model file holds what this pipeline never writes",
                where=str(path),
                found=f"{str(e).splitlines()[0]}{_versions(path)}",
                risk="reading it could run foreign code; nothing of it was run",
                mend=f"delete {path.parent} and give the same command again: that fold is trained anew",
            )
        ) from None
    except (BadZipFile, KeyError, ValueError, OSError) as e:
        raise EnvironmentFault(artifacts.corrupt(path, f"{type(e).__name__} {e}{_versions(path)}")) from None


def _versions(path: Path) -> str:
    """By which other versions the fold's file was written, if by any."""
    told = versions.differences(versions.of_run(path.parent.parent), versions.now(versions.LIBRARIES))
    return f"; {told}" * bool(told)


def predict(model: Any, x: np.ndarray) -> np.ndarray:
    """[rows, classes] probabilities, or [rows] values."""
    return model.predict_proba(x) if hasattr(model, "predict_proba") else model.predict(x)
