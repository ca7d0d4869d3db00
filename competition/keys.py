"""The keys of competition.yaml, of a run's sections `pseudo` and `embeddings`, and the parts that keys play; all are
printed by `python -m competition schema`.

Each field plays one of three parts (DESIGN 9.6): *fit* fields are the identity of a run, a change of *predict* fields
redoes its predictions, *machine* fields (workers, device) never count.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from competition.errors import nearest

Kind = Literal["multiclass", "binary", "multilabel", "ordinal", "regression", "boxes"]
AUTO = "auto"  # as folds.group: copies stay together
ROW_KINDS: tuple[Kind, ...] = ("multiclass", "binary", "multilabel", "ordinal", "regression")  # a prediction an id


class Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)


def fit(default: Any, help: str, **limits: Any) -> Any:
    return Field(default, description=help, json_schema_extra={"part": "fit"}, **limits)


def predict(default: Any, help: str, **limits: Any) -> Any:
    return Field(default, description=help, json_schema_extra={"part": "predict"}, **limits)


def machine(default: Any, help: str, **limits: Any) -> Any:
    return Field(default, description=help, json_schema_extra={"part": "machine"}, **limits)


class Folds(Strict):
    n: int = fit(5, "number of folds", ge=2)
    scheme: Literal["stratified", "plain", "time", "test_like"] = fit(
        "stratified",
        "stratified: by class, by label set (multilabel) or by quantile (regression); plain: at random; "
        "time: blocks in the order of `time`, each fold trained on the blocks before it; test_like: stratified, of the "
        "half of the rows that looks most like test, while the other half is always in training",
    )
    group: str | None = fit(
        None,
        "column whose equal values stay in one fold (patient, site, video); or a template of the ids whose field is the "
        "group, such as `{group}_*` of `0001_01`; auto: copies stay in one, of pictures also those that were scaled, "
        "encoded anew, cropped or mirrored, of tables rows that are the same in every column",
    )
    time: str | None = fit(None, "column to order by, for scheme time")
    repeats: int = fit(1, "how many times the rows are split anew; predictions are averaged", ge=1)
    seed: int = fit(0, "seed of the split", ge=0)

    @field_validator("group")
    @classmethod
    def _one_field(cls, value: Any) -> Any:
        if value is not None and set("{}") & set(value) and (value.count("{group}"), value.count("{")) != (1, 1):
            raise ValueError("a template of the ids has one field, {group}: '{group}_*'")
        return value

    @model_validator(mode="after")
    def _time_needs_column(self) -> Folds:
        if (self.scheme == "time") != (self.time is not None):
            raise ValueError("scheme: time and time: <column> go together")
        if self.scheme == "time" and (self.repeats > 1 or self.group):
            raise ValueError("scheme: time takes neither repeats nor group")
        return self

    @property
    def of_ids(self) -> str | None:
        """The template of the ids by which rows are grouped."""
        return self.group if self.group and "{" in self.group else None


class MetricSpec(Strict):
    model_config = ConfigDict(frozen=True, extra="allow")
    name: str = Field(description="name of the metric, or file.py:function; further keys are its parameters")

    @property
    def params(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class ImagePaths(Strict):
    train: str = fit(..., "path template of a training row's picture")
    test: str = fit("", "the same of a test row; left out: as of train")
    unlabeled: str | None = fit(None, "the same of a row of `unlabeled:`; null: as of test")
    depth: Literal["scale", "clip"] | tuple[float, float] | None = fit(
        None,
        "pictures of more than 8 bits a channel: null: an error; scale: the whole range of their type becomes 0..255 (of "
        "floats 0..1); clip: what is over 255 is 255; [low, high]: this range becomes 0..255",
    )
    alpha: Literal["drop", "white", "black"] = fit(
        "drop", "transparent pixels: the colour that is stored beneath, or laid on white or black"
    )
    bad: Literal["refuse", "drop", "placeholder"] = fit(
        "refuse",
        "pictures that can't be used (missing, cut short, ...): an error; drop: training rows are left out; placeholder: "
        "so are they, and test rows get the mean of the training labels, or no box",
    )

    @model_validator(mode="before")
    @classmethod
    def _test_as_train(cls, value: Any) -> Any:
        return {"test": value["train"], **value} if isinstance(value, dict) and "train" in value else value

    @field_validator("depth", mode="before")
    @classmethod
    def _range(cls, value: Any) -> Any:
        return tuple(value) if isinstance(value, list) else value

    @field_validator("depth")
    @classmethod
    def _rising(cls, value: Any) -> Any:
        if isinstance(value, tuple) and value[0] >= value[1]:
            raise ValueError(f"a range rises: [low, high], not {list(value)}")
        return value


class Boxes(Strict):
    """Section `boxes` of a competition of that kind: where the training boxes stand, and how the host wants ours."""

    source: str | None = fit(
        None,
        "where the boxes stand: null: in train; `Annotations/{id}.xml` (Pascal VOC, a file a picture), "
        "`labels/{id}.txt` (YOLO, likewise), or `annotations.json` (COCO)",
    )
    columns: tuple[str, ...] = fit(
        ("x_min", "y_min", "x_max", "y_max"),
        "columns of train that hold the boxes: four of one number each, or one, whose cell has a box or a list of boxes",
        min_length=1,
        max_length=4,
    )
    form: Literal["corners", "sizes", "centers"] = fit(
        "corners",
        "the four numbers: x_min y_min x_max y_max; or x_min y_min width height; or x_center y_center width height",
    )
    unit: Literal["pixels", "fractions"] = fit("pixels", "of the numbers; fractions: of the picture's width and height")
    upright: bool = fit(
        True, "true: of the picture as it is shown, turned as its EXIF note says; false: as it is stored"
    )
    unlisted: bool = fit(
        False, "whether pictures beside the training pictures that no table lists are training pictures without boxes"
    )
    bad: Literal["refuse", "drop"] = fit(
        "refuse",
        "boxes that can't be right (inverted, without area, outside the picture, not numbers): an error, or left out",
    )
    merge: float | None = fit(
        None,
        "IoU from which on boxes of one class are one object, marked several times: their mean is taken",
        gt=0,
        lt=1,
    )
    template: str | None = fit(
        None,
        "a box in the submission, such as `{label} {score} {x_min} {y_min} {width} {height}`; null: as the sample has it",
    )
    nothing: str | None = fit(None, "the submission's cell of a picture without boxes; null: as the sample has it")
    fractions: bool | None = fit(
        None, "whether the submission's numbers are fractions of width and height; null: as the sample has it"
    )

    @field_validator("columns", mode="before")
    @classmethod
    def _column_list(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else value

    @field_validator("columns")
    @classmethod
    def _one_or_four(cls, value: Any) -> Any:
        if len(value) not in (1, 4):
            raise ValueError("one column, or four")
        return value


class Pseudo(Strict):
    """Section `pseudo` of a run: whose predictions of unlabelled rows it learns from."""

    run: str = fit(..., "a run or a blend, <competition>/<run>: fold k learns from its models that never saw fold k")
    rows: Literal["test", "unlabeled"] = fit("test", "which rows it labels: test, or those of `unlabeled:`")
    soft: bool = fit(True, "labels as they are predicted, or the likeliest class alone; boxes are always whole")
    cut: float | None = fit(
        None,
        "the lowest confidence of a row that is learnt from: of its likeliest class, of the least sure of its labels; of "
        "boxes the lowest score of a box. null: all rows, boxes from 0.5 up",
        ge=0,
        lt=1,
    )
    weight: float = fit(1.0, "how much such a row counts beside a labelled one", gt=0)


class Embeddings(Strict):
    """Section `embeddings` of a tabular run: the backbone that looks at the pictures, as it comes."""

    backbone: str = fit(..., "any timm model, with or without a pretrained tag")
    pretrained: Literal[True] | str = fit(
        True, "true: weights from the hub; a local weights file, not of this competition"
    )
    size: int = fit(224, "side of the square that it sees, pixels", ge=8, le=4096)
    fit_to: Literal["squash", "pad", "crop"] = fit("squash", "how a picture becomes square, as of `task: image`")
    dims: int = fit(
        32, "main directions of its pooled features that are columns, found on the fold's training rows", ge=1
    )

    @field_validator("pretrained", mode="before")
    @classmethod
    def _never_saw_a_label(cls, value: Any) -> Any:
        if value is not True and not isinstance(value, str):
            raise ValueError("true, or a weights file: what was never trained sees little")
        if isinstance(value, str) and value.startswith("run:"):
            raise ValueError("a run has learned its training rows' labels; `runs:` takes what it says out of fold")
        return value


class Competition(Strict):
    """`configs/<name>/competition.yaml`: what the competition is; the same for every run."""

    data: str = fit(
        ..., "folder as downloaded; read only; may lie anywhere (relative: from the folder of the Makefile)"
    )
    slug: str | None = machine(
        None,
        "its name at Kaggle, the last part of the address, for `make upload`; null: the folder's name below configs/",
    )
    tracking: Literal["wandb", "tensorboard", "none"] = machine(
        "wandb",
        "where training is mirrored to. wandb: W&B, online where a key is there, else offline for `make sync`; tensorboard: "
        "event files below runs/.tensorboard; none: the run folders alone",
    )
    read: str | None = fit(
        None,
        "`file.py:function` beside this file that returns the tables train, test and sample, where no CSV holds them; then "
        "paths of pictures start from a folder that it may write to, in which `data/` is the folder as downloaded",
    )
    train: str = fit(
        "train.csv",
        "CSV of the training rows, or a path template such as `train/{label}/{name}.jpg`: each file that fits is a "
        "row, with the template's fields, `path` and `stem` (file name without extension) as columns; or a JSON file that "
        "lists images as COCO has it, with what its annotations say of an image (category_id) as columns",
    )
    test: str = fit("test.csv", "CSV, path template or JSON file of the test rows; the sample may serve")
    unlabeled: str | None = fit(
        None, "CSV or path template of further rows without labels, for runs with `pseudo: {rows: unlabeled}`"
    )
    sample: str = fit("sample_submission.csv", "the submission's form: columns, ids and order")
    ids: Literal["same", "test", "sample"] = predict(
        "same",
        "whose ids a submission has. same: the sample's, which must be test's; test: those of test, where the sample is a "
        "placeholder of a few rows, or stale; sample: the sample's alone, where test has more",
    )
    id: str = fit(..., "column of train and test that names a row; read as text, 007 stays 007")
    duplicates: Literal["refuse", "first"] = fit(
        "refuse", "training rows that repeat an id and its label: an error, or the first is kept; not of boxes"
    )
    target: str | tuple[str, ...] | None = fit(
        None,
        "label column, or the list of them (one-hot, multi-label, several values); of boxes, the column of a box's class, "
        "null where there is but one class or the boxes' file has it",
    )
    kind: Kind = fit(..., "what is predicted")
    metric: MetricSpec = fit(..., "the competition's metric: a name, `{name: mapk, k: 5}`, or file.py:function")
    classes: tuple[str, ...] | None = fit(
        None, "class names in order, where the sorted order is wrong (ordinal levels; the positive class last)"
    )
    separator: str = fit(" ", "what divides the labels of one cell (kind multilabel with one target column)")
    image: ImagePaths | None = fit(
        None, "path template of a row's picture under `data`, `images/{id}.jpg`; or one each for train and test"
    )
    boxes: Boxes | None = fit(None, "where the boxes stand and how they are written (kind boxes)")
    folds: Folds = fit(Folds(), "how the training rows are split")
    prior: dict[str, float] | Literal["estimate"] | None = predict(
        None,
        "share of each class or label in test, where the host states them: `{cat: 0.2, dog: 0.8}`; what is submitted is "
        "corrected by their ratio to train's. estimate: the shares that the test predictions themselves tell",
    )

    @model_validator(mode="after")
    def _read_or_named(self) -> Competition:
        named = self.model_fields_set & {"train", "test", "sample"}
        if self.read is not None and named:
            raise ValueError(f"read: returns the tables; leave out {', '.join(sorted(named))}")
        return self

    @model_validator(mode="after")
    def _boxes_of_their_kind(self) -> Competition:
        if self.kind != "boxes" and self.target is None:
            raise ValueError("target: the column that is predicted; only kind: boxes goes without")
        if (self.boxes is not None) != (self.kind == "boxes"):
            raise ValueError("kind: boxes and a section boxes: go together (`boxes: {}` takes its defaults)")
        if self.kind == "boxes" and self.unlabeled is not None:
            raise ValueError("unlabeled: is not read for kind: boxes; `pseudo: {rows: test}` is")
        if self.kind == "boxes" and self.image is None:
            raise ValueError("kind: boxes needs image: the path of a row's picture")
        if self.kind == "boxes" and not isinstance(self.target, (str, type(None))):
            raise ValueError("target: one column holds the class of a box")
        return self

    @field_validator("target", mode="before")
    @classmethod
    def _target_list(cls, value: Any) -> Any:
        return tuple(value) if isinstance(value, list) else value

    @field_validator("prior", mode="before")
    @classmethod
    def _shares(cls, value: Any) -> Any:
        if isinstance(value, dict):
            wrong = [k for k, share in value.items() if type(share) not in (int, float) or not 0 <= share <= 1]
            if wrong:
                raise ValueError(f"the share of {str(wrong[0])!r} is a number within 0..1")
            return {str(name): float(share) for name, share in value.items()}
        if value not in (None, "estimate"):
            raise ValueError(f"a share of each class, or `estimate`; {nearest(str(value), ['estimate'])}")
        return value

    @field_validator("metric", mode="before")
    @classmethod
    def _metric_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @field_validator("image", mode="before")
    @classmethod
    def _one_template(cls, value: Any) -> Any:
        return {"train": value, "test": value} if isinstance(value, str) else value

    @field_validator("classes", mode="before")
    @classmethod
    def _class_text(cls, value: Any) -> Any:
        return tuple(str(v) for v in value) if isinstance(value, list) else value

    @property
    def targets(self) -> tuple[str, ...]:
        return (self.target,) if isinstance(self.target, str) else self.target or ()
