"""What is predicted: the target, its kind and its classes, from the train table and the sample's form."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Literal

import pandas as pd

from competition import formulas
from competition.errors import ConfigFault, DataFault, Finding, examples
from competition.inspect.boxnumbers import is_number
from competition.inspect.guess import Guess, Tables, question
from competition.tables import label_sets, natural, said

Form = Literal["labels", "probabilities", "ranking", "values", "boxes"]
SEPARATORS = "|;, "  # the rarest in a label's own name first
FEW = 20  # whole numbers up to so many are read as classes, more as values
ORDINAL = re.compile(r"grade|level|stage|severity|rating|quality|score|rank|ordinal", re.I)
CLASS_NUMBER = re.compile(
    r"(class|category|species|breed|variety)([_ ]?(ids?|no|num|number|label))?|(.*[_ ])?ids?|\w*[a-z](?-i:Id)", re.I
)
LABEL_SETS = re.compile(r"labels$|tags?$|attributes|keywords|genres|categories|classes$", re.I)
NEGATIVE = {"no", "n", "false", "negative", "neg", "normal", "healthy", "benign", "absent", "ham"}


@dataclass(frozen=True)
class Shape:
    """What target and sample say together. kind "": it can't be told. k: longest list of a ranking."""

    kind: str
    form: Form
    reason: str
    sure: bool = True
    k: int = 0
    separator: str | None = None
    classes: tuple[str, ...] | None = None


def refuse_masks(train: pd.DataFrame, sample: pd.DataFrame, train_name: str) -> None:
    """Raises ConfigFault INIT-KIND for competitions of masks, which are not supported yet."""
    asked = sample.columns[1:]
    known = all(c in train.columns for c in asked)
    masks = [c for c in asked if re.search(r"rle|encoded_?pixels|mask|segmentation", c, re.I)]
    masks = [c for c in masks if not known or train[c].str.fullmatch(r"\d+ \d+(?: \d+ \d+)+").any()]
    if masks:
        raise ConfigFault(
            Finding(
                code="INIT-KIND",
                what="this is a competition of masks, which are not supported yet",
                where=train_name,
                found=f"columns {examples(masks)}",
                risk="nothing was written",
                mend="where the target is a label after all, say so: SET='kind=multiclass target=label'",
            )
        )


def find_target(tables: Tables) -> Guess:
    """The key `target`. Raises ConfigFault INIT-SAMPLE or INIT-TARGET."""
    asked, names = tables.asked, tables.names
    if not asked:
        found = f"columns {examples(tables.sample.columns)}"
        raise question("sample", "the sample has no column to fill in", names["sample"], found, "sample_submission.csv")
    if all(c in tables.train.columns for c in asked):
        one, leaks = len(asked) == 1, [c for c in asked if c not in tables.own]
        reason = "the sample asks for it" if one else f"the sample asks for these {len(asked)} columns"
        reason += (
            f", but {names['test']} has {examples(leaks)} too: is that the answer?" if leaks else ", and train has it"
        )
        return Guess("target", asked[0] if one else asked, reason, sure=not leaks)
    return _by_name(tables) if len(asked) == 1 else _by_classes(tables)


def _by_name(tables: Tables) -> Guess:
    """The column of train that the sample calls otherwise."""
    own, asked = tables.own, tables.asked[0]
    same = [c for c in own if _bare(c) == _bare(asked)]
    if len(same) == 1 or len(own) == 1:
        why = "its name but for the spelling" if same else "the only column of train beside the id that test lacks"
        return Guess("target", (same or own)[0], f"{why}; the sample calls it {asked!r}")
    words = {word for cell in tables.sample[asked].unique() for word in cell.split()}
    telling = len(words) > 1 or not all(map(is_number, words))  # 0 alone is in many columns
    alike = [c for c in own if telling and words <= set(tables.train[c])]
    if len(alike) == 1:
        reason = f"the only column with the sample's {examples(sorted(words), 3)}; the sample calls it {asked!r}"
        return Guess("target", alike[0], reason, sure=False)
    raise _no_target(tables, f"the sample asks for {asked!r}, which train lacks")


def _bare(name: str) -> str:
    """`category_id` and `Category` name the same thing."""
    return re.sub(r"[\W_]", "", re.sub(r"[\W_]ids?$", "", name.lower()))


def _by_classes(tables: Tables) -> Guess:
    """The column of train whose values are the sample's columns."""
    fits = {c: fit for c in tables.own if (fit := _spelled(tables.train[c], tables.asked))}
    fewest = min((len(fit[1]) for fit in fits.values()), default=0)
    best = [c for c, (_, lacking) in fits.items() if len(lacking) == fewest]
    if len(best) != 1:
        raise _no_target(tables, "the sample's columns are neither columns of train nor the values of one")
    lacking = f"; train has no row of {examples(fits[best[0]][1])}" if fewest else ""
    reason = f"the sample's {len(tables.asked)} columns are its values{lacking}"
    return Guess("target", best[0], reason, sure=not lacking)


def _no_target(tables: Tables, what: str) -> Exception:
    found = f"the sample has {examples(tables.asked)}; only in train: {examples(tables.own, 12)}"
    return question("target", what, tables.names["train"], found, (tables.own or list(tables.train.columns))[-1])


def _spelled(cells: pd.Series, asked: list[str]) -> tuple[str, list[str]] | None:
    """Whether the columns `asked` are the labels of the cells, perhaps with one prefix or suffix.

    Returns the separator of the cells ("" for one label a cell) and the labels that no cell has.
    """
    distinct = pd.Series(cells[said(cells)].unique())
    for separator in ("", *SEPARATORS):
        labels = {label for row in label_sets(distinct, separator) for label in row} if separator else set(distinct)
        if not 2 <= len(labels) <= len(asked) <= 2 * len(labels):
            continue
        longest = re.escape(max(labels, key=len))
        for before, after in ((c[: m.start()], c[m.end() :]) for c in asked for m in re.finditer(longest, c)):
            columns = {before + label + after for label in labels}
            if columns <= set(asked):
                lacking = [c for c in asked if c not in columns]
                return separator, [c.removeprefix(before).removesuffix(after) for c in lacking]
    return None


def find_shape(tables: Tables, targets: list[str], pictures: bool) -> Shape:
    """Kind, classes, separator and the sample's form together, from the first rule that applies."""
    if len(targets) > 1:
        return _of_columns(tables, targets)
    cells = tables.train[targets[0]]
    known = cells[said(cells)]
    if len(tables.asked) > 1:
        return _of_wide(tables, targets[0])
    sample = tables.sample[tables.asked[0]]
    sample = sample[sample != ""]
    return (
        _of_ranking(known, sample)
        or _of_two(known, sample)
        or _of_numbers(targets[0], known, sample, pictures)
        or _of_sets(targets[0], known, sample)
        or _of_texts(known)
    )


def find_kind(shape: Shape, tables: Tables, targets: list[str]) -> Guess:
    if not shape.kind:
        where = f"{tables.names['train']}, {examples(targets)}"
        raise question("kind", "the target's kind can't be told", where, shape.reason, "multiclass")
    return Guess("kind", shape.kind, shape.reason, shape.sure)


def find_classes(shape: Shape) -> Guess | None:
    if shape.classes is None:
        return None
    reason = "the positive class stands last" if shape.kind == "binary" else "with those that only the sample has"
    return Guess("classes", list(shape.classes), reason, shape.sure)


def find_separator(shape: Shape) -> Guess | None:
    if shape.separator is None:
        return None
    return Guess("separator", shape.separator, "it divides the labels of one cell", shape.sure)


def _of_columns(tables: Tables, targets: list[str]) -> Shape:
    known = tables.train[targets].apply(said).all(axis=1)
    values = tables.train.loc[known, targets].apply(pd.to_numeric, errors="coerce")
    if values.empty or values.isna().any(axis=None):
        text = [c for c in targets if values[c].isna().any()] or targets
        what, where = (
            "several target columns must hold numbers; of text only one can be the target",
            tables.names["train"],
        )
        raise question("target", what, where, f"{text[0]}: {examples(tables.train[text[0]].unique())}", text[0])
    ones = values.sum(axis=1)
    if values.isin([0, 1]).all(axis=None):
        kind, often = ("multiclass", "exactly one") if (ones == 1).all() else ("multilabel", "not always one")
        return Shape(kind, "probabilities", f"{len(targets)} columns of 0 and 1, {often} 1 in every row")
    if values.min(axis=None) >= 0 and ((ones - 1).abs() < 1e-3).all():
        return Shape("multiclass", "probabilities", "shares that sum to 1 in every row: soft labels", sure=False)
    return Shape("regression", "values", f"{len(targets)} columns of numbers that are not 0 and 1 alone")


def _of_wide(tables: Tables, target: str) -> Shape:
    cells = tables.train[target]
    fit = _spelled(cells, tables.asked)
    if fit is None:
        what, where = "the sample's columns are not the target's values", f"{tables.names['train']}, column {target!r}"
        found = f"columns {examples(tables.asked)}; values {examples(tables.train[target].unique())}"
        raise question("target", what, where, found, tables.own[-1])
    separator, lacking = fit
    if separator:
        reason = f"a column a label in the sample, labels divided by {separator!r} in train"
        return Shape("multilabel", "probabilities", reason, separator=separator)
    classes = natural(set(cells[said(cells)]) | set(lacking)) if lacking else None
    reason = f"a column a class in the sample, {len(tables.asked)} in all"
    return Shape("multiclass", "probabilities", reason, classes=classes)


def _of_ranking(known: pd.Series, sample: pd.Series) -> Shape | None:
    classes, lists = set(known), sample.str.split()
    k = int(lists.map(len).max()) if len(lists) else 0
    if k < 2 or any(" " in c for c in classes) or not {word for row in lists for word in row} <= classes:
        return None
    return Shape("multiclass", "ranking", f"one label a row in train, lists of up to {k} in the sample", k=k)


def _of_two(known: pd.Series, sample: pd.Series) -> Shape | None:
    values = natural(set(known))
    if len(values) != 2:
        return None
    labels = set(sample) <= set(values) or not sample.map(is_number).all()
    swap = values[1].lower() in NEGATIVE and values[0].lower() not in NEGATIVE
    classes = values[::-1] if swap else values
    clear = labels or is_number(values[0]) or any(v.lower() in NEGATIVE for v in values)
    reason = f"two values, of which {classes[1]!r} is the positive one"
    if not clear:
        reason += f" (as the last in order; else set classes: [{classes[1]}, {classes[0]}])"
    return Shape("binary", "labels" if labels else "probabilities", reason, clear, classes=classes if swap else None)


def _of_numbers(name: str, known: pd.Series, sample: pd.Series, pictures: bool) -> Shape | None:
    values, asked = (pd.to_numeric(s, errors="coerce") for s in (known, sample))
    if values.isna().any():
        _refuse_decimal_comma(name, known)
        return None
    n, low, high = values.nunique(), values.min(), values.max()
    if (values % 1 != 0).any():
        return Shape("regression", "values", f"numbers with fractions, {low:g} to {high:g}")
    steps, few = high - low + 1 == n, n <= FEW and 2 * n <= len(values)
    if (asked % 1 != 0).any():
        return Shape("regression", "values", f"{n} whole numbers, but the sample has fractions", sure=not few)
    if few and steps and ORDINAL.search(name):
        reason = f"{n} levels, {low:g} to {high:g}, and {name!r} sounds ordered; else set kind: multiclass"
        return Shape("ordinal", "labels", reason, sure=False)
    named = CLASS_NUMBER.fullmatch(name) or (steps and 5 * n <= len(values) and set(sample) <= set(known))
    if few or (pictures and 2 * n <= len(values) and named):
        reason = f"{n} whole numbers, {low:g} to {high:g}; set kind: ordinal if their order counts, or kind: regression"
        return Shape("multiclass", "labels", reason, sure=False)
    return Shape("regression", "values", f"{n} different whole numbers, {low:g} to {high:g}")


def _refuse_decimal_comma(name: str, known: pd.Series) -> None:
    if known.str.fullmatch(r"-?\d+,\d+").all():
        raise DataFault(
            Finding(
                code="CSV-DECIMAL",
                what="the target's numbers have decimal commas",
                where=f"column {name!r}",
                found=examples(known, 3),
                risk="they would be read as text",
                mend="write them with points",
            )
        )


def _of_sets(name: str, known: pd.Series, sample: pd.Series) -> Shape | None:
    """Several labels in a cell. Blanks and commas stand in class names too (`wild cat`), so they need more evidence."""
    distinct = set(known)
    for separator in SEPARATORS:
        rows = [[label.strip() for label in cell.split(separator) if label.strip()] for cell in distinct]
        labels, several = {label for row in rows for label in row}, [row for row in rows if len(row) > 1]
        if not several:
            continue
        other = set(sample) - distinct
        asked = bool(other) and {label.strip() for cell in other for label in cell.split(separator)} <= labels | {""}
        mixed = bool({label for row in several for label in row} & distinct) or LABEL_SETS.search(name)
        if separator in "|;" or asked or (mixed and len(labels) < len(distinct)):
            reason = f"{len(labels)} labels, divided by {separator!r}, in {len(distinct)} combinations"
            return Shape("multilabel", "labels", reason, sure=separator in "|;", separator=separator)
    return None


def _of_texts(known: pd.Series) -> Shape:
    n = known.nunique()
    if n > 50 and n > 0.5 * len(known):
        return Shape("", "labels", f"nearly every row has a text of its own: {examples(known, 3)}")
    parted = known.str.contains("[ ,]").any()
    reason = f"{n} different labels" + ("; set kind: multilabel if a cell holds several" if parted else "")
    return Shape("multiclass", "labels", reason, sure=not parted)


def fitted_to(shape: Shape, metric: str, tables: Tables, targets: list[str]) -> Shape:
    """The shape in a kind that the given metric takes, where the target's values allow it."""
    entry = formulas.METRICS.get(metric)
    takes = [kind for kinds in entry.functions for kind in kinds] if entry else [shape.kind]
    cells = tables.train[targets].stack()
    numeric = pd.to_numeric(cells[said(cells)], errors="coerce").notna().all()
    others = ["multilabel", "multiclass", "regression"] if len(targets) > 1 else ["regression", "multiclass", "ordinal"]
    kind = next((k for k in others if k in takes and (numeric or k != "regression")), shape.kind)
    if shape.kind in takes or shape.separator or not shape.kind:
        return shape
    form: Form = "values" if kind == "regression" else "labels" if shape.form == "values" else shape.form
    reason = f"METRIC={metric} takes it; without that, {shape.kind}: {shape.reason}"
    classes = None if kind == "regression" else shape.classes
    return replace(shape, kind=kind, form=form, reason=reason, classes=classes, sure=numeric or kind != "ordinal")
