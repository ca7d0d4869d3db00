"""SIIM COVID-19 asks two things in one file: boxes of images and classes of studies. Here they are two competitions.

    make init DATA=<folder> NAME=siim_images METRIC=voc_map SET="read=siim.py:images folds.group=StudyInstanceUID"
    make init DATA=<folder> NAME=siim_studies METRIC=average_precision SET="read=siim.py:studies"
    python configs/siim_images/siim.py <folder>/sample_submission.csv \\
        submissions/siim_images/baseline.csv submissions/siim_studies/baseline.csv submissions/siim.csv

The last joins their submissions in the host's form. This file lies in both configs/siim_images and configs/siim_studies.
"""

import sys

import pandas as pd

CLASSES = {
    "Negative for Pneumonia": "negative",
    "Typical Appearance": "typical",
    "Indeterminate Appearance": "indeterminate",
    "Atypical Appearance": "atypical",
}


def images(data, into):
    """A row an image, its boxes as the host writes them."""
    train = pd.read_csv(data / "train_image_level.csv").rename(columns={"label": "PredictionString"})
    sample = _asked(data, "_image")
    files = {f"{path.stem}_image": _below(data, path) for path in sorted(data.glob("t*/*/*/*.dcm"))}
    train = train.drop(columns="boxes").assign(file=train["id"].map(files))
    return train, pd.DataFrame({"id": sample["id"], "file": sample["id"].map(files)}), sample


def studies(data, into):
    """A row a study, looked at by its first image, with a column a class."""
    train = pd.read_csv(data / "train_study_level.csv")
    ids = _asked(data, "_study")["id"]
    files = {f"{path.parts[-3]}_study": _below(data, path) for path in sorted(data.glob("t*/*/*/*.dcm"), reverse=True)}
    sample = pd.DataFrame({"id": ids} | dict.fromkeys(CLASSES, 0.25))
    return train.assign(file=train["id"].map(files)), pd.DataFrame({"id": ids, "file": ids.map(files)}), sample


def join(sample, images, studies):
    """The host's file. An image is `none` as far as its surest opacity is not sure."""
    asked, boxes = pd.read_csv(sample)["id"], pd.read_csv(images).set_index("id")["PredictionString"]
    shares = pd.read_csv(studies).set_index("id")[list(CLASSES)].rename(columns=CLASSES)
    whole = shares.apply(lambda row: " ".join(f"{name} {share:.6f} 0 0 1 1" for name, share in row.items()), axis=1)
    found = pd.concat([boxes.map(_with_none), whole])
    if set(found.index) != set(asked):
        raise SystemExit(f"the two files have not the ids of {sample}: {sorted(set(found.index) ^ set(asked))[:5]}")
    return pd.DataFrame({"id": asked, "PredictionString": found.loc[asked].to_numpy()})


def _with_none(cell):
    scores = [float(word) for word in cell.split()[1::6]] if cell.startswith("opacity") else []
    none = f"none {1 - max(scores, default=0):.6f} 0 0 1 1"
    return f"{cell} {none}" if scores else none


def _asked(data, end):
    sample = pd.read_csv(data / "sample_submission.csv")
    return sample[sample["id"].str.endswith(end)].reset_index(drop=True)


def _below(data, path):
    return f"data/{path.relative_to(data).as_posix()}"


if __name__ == "__main__":
    join(*sys.argv[1:4]).to_csv(sys.argv[4], index=False)
