"""timm backbones for image and detection: checked before data is read, started from weights, grouped and frozen."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import timm
import timm.data
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from timm.models import group_parameters
from timm.optim import create_optimizer_v2, get_optimizer_info, list_optimizers
from timm.optim._param_groups import param_groups_layer_decay, param_groups_weight_decay
from torch import nn

from competition import artifacts, versions
from competition.checkpoint import foreign
from competition.errors import ConfigFault, EnvironmentFault, Finding, SafetyFault, nearest
from competition.knobs import Training
from competition.split import ALL, Split

HUB_SECONDS = 5.0
Make = Callable[..., nn.Module]  # timm's model, by further arguments of timm.create_model
HeadOf = Callable[[nn.Module], set[int]]


def create(make: Make, knobs: Training, path: Path | None, head_of: HeadOf = lambda model: set()) -> nn.Module:
    """What `make` makes, its weights from `path` (of `weights_file`), or else as `pretrained` says: the hub's or new.

    head_of(model): `id` of the parameters that a file needn't hold. Raises ConfigFault CKPT-MISMATCH and
    EnvironmentFault MODEL-HUB.
    """
    if path is not None:
        return _from_file(make, knobs, path, head_of)
    return _from_hub(make, knobs) if knobs.pretrained else make()


def check(knobs: Training) -> None:
    """Refuses an unknown backbone or optimizer: ConfigFault MODEL-NAME, OPT-NAME."""
    name, _, tag = knobs.backbone.partition(".")
    if not timm.is_model(name):
        raise ConfigFault(
            finding(
                "MODEL-NAME", "backbone", knobs.backbone, "timm has no such model", nearest(name, timm.list_models())
            )
        )
    tags = [m.partition(".")[2] for m in timm.list_pretrained(f"{name}.*")]
    if tag and tag not in tags:
        raise ConfigFault(
            finding("MODEL-NAME", "backbone", knobs.backbone, "no such pretrained tag", nearest(tag, tags))
        )
    if knobs.opt not in list_optimizers():
        near = nearest(knobs.opt, map(str, list_optimizers()))
        raise ConfigFault(finding("OPT-NAME", "opt", knobs.opt, "timm has no such optimizer", near))


def check_weights(knobs: Training) -> None:
    """Refuses weights that can't be had."""
    if knobs.pretrained is True:
        _need_hub(knobs)
    elif knobs.pretrained and not knobs.pretrained.startswith("run:"):
        provenance(_existing(knobs.pretrained, Path(knobs.pretrained).expanduser()))


def check_freeze(groups: int, knobs: Training) -> None:
    """Refuses to freeze all of the network's layer groups, or more."""
    if knobs.freeze >= groups:
        found = f"{knobs.backbone} has {groups} layer groups, the last of which is its head"
        raise ConfigFault(finding("CFG-VALUE", "freeze", str(knobs.freeze), found, f"freeze: 0 to {groups - 1}"))


def layer_groups(model: nn.Module) -> int:
    return len(_layers(model)) if hasattr(model, "group_matcher") else 1


def arguments(knobs: Training, size: int | tuple[int, int]) -> dict[str, Any]:
    """What timm.create_model is told; models with a fixed input size (ViT, Swin) ours, ConvNets refuse the argument."""
    cfg = timm.get_pretrained_cfg(knobs.backbone)
    more: dict[str, Any] = {"img_size": size} if cfg is not None and cfg.fixed_input_size else {}
    if knobs.drop:
        more["drop_rate"] = knobs.drop
    if knobs.drop_path:
        more["drop_path_rate"] = knobs.drop_path
    return more


def data_config(model: nn.Module) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation, of pixels in 0..1, that the weights were trained with."""
    config = timm.data.resolve_model_data_config(model)
    return config["mean"], config["std"]


def optimizer(
    model: nn.Module, knobs: Training, head: set[int], added: Sequence[nn.Module] = ()
) -> torch.optim.Optimizer:
    """timm's optimizer over groups of equal rate and decay: few groups, so the fused kernels have long lists.

    head: `id` of the new parameters. added: new parts beside timm's model. `lr_scale` is layer_decay ** (distance from the
    last layer group), times head_lr for what is new; loop.py applies it.
    """
    merged: dict[tuple[float, float], list[nn.Parameter]] = {}
    skip = model.no_weight_decay() if hasattr(model, "no_weight_decay") else ()  # ty: ignore[not-callable]
    groups = param_groups_layer_decay(
        model, knobs.weight_decay, no_weight_decay_list=skip, layer_decay=knobs.layer_decay
    )
    for part in added:
        groups += param_groups_weight_decay(part, knobs.weight_decay)
    head = head | {id(p) for part in added for p in part.parameters()}
    for group in groups:
        for p in group["params"]:
            scale = float(group.get("lr_scale", 1.0)) * (knobs.head_lr if id(p) in head else 1.0)
            merged.setdefault((scale, float(group["weight_decay"])), []).append(p)
    parts = [{"params": ps, "lr_scale": scale, "weight_decay": decay} for (scale, decay), ps in merged.items()]
    fused: dict[str, Any] = {"fused": True} if has_fused(knobs.opt) else {}
    return create_optimizer_v2(parts, opt=knobs.opt, lr=knobs.lr, weight_decay=0.0, **fused)


def has_fused(opt: str) -> bool:
    """Whether torch has one kernel for the optimizer: `adamw` 5.6 ms a step where its loop takes 28 (convnext_atto, one
    thread). Those that timm wrote itself have none."""
    made = get_optimizer_info(opt).opt_class
    own = inspect.isclass(made) and made.__module__.startswith("torch.optim")
    return own and "fused" in inspect.signature(made).parameters


def freeze(model: nn.Module, groups: int) -> None:
    """The first `groups` layer groups (stem, stages) keep their weights; their norms keep their statistics."""
    if not groups:
        return
    layers = _layers(model)
    frozen = {name for layer in sorted(layers)[:groups] for name in layers[layer]}
    for name, p in model.named_parameters():
        p.requires_grad_(name not in frozen and p.requires_grad)
    for module in model.modules():
        own = list(module.parameters(recurse=False))
        if own and not any(p.requires_grad for p in own) and hasattr(module, "running_mean"):
            module.train = lambda mode=True, module=module: module  # stays in eval when the model is set to train
            module.training = False


def _layers(model: nn.Module) -> dict[int, list[str]]:
    """Names of parameters by layer group, the stem first."""
    return group_parameters(model, model.group_matcher(coarse=True))  # ty: ignore[not-callable]


def weights_file(pretrained: bool | str, origin: dict[str, str], fold: str) -> Path | None:
    """The file that `pretrained:` names, None where it names none. Weights that have seen held-out rows are refused.

    run:<name>/<run> is fold k's file for fold k and needs the same fold table; of a further seed that it lacks it is the
    first's, which has seen the same rows. A plain file must not come from this
    competition, because four of its five folds would have been trained on the rows that ours are scored on (DESIGN 9.4).
    Raises ConfigFault MODEL-LEAK, MODEL-WEIGHTS.
    """
    if isinstance(pretrained, bool):
        return None
    run = pretrained.removeprefix("run:") if pretrained.startswith("run:") else None
    path = _existing(pretrained, _of_run(run, fold) if run else Path(pretrained).expanduser())
    theirs = provenance(path)
    if run and theirs.get("folds") != origin["folds"]:
        found = f"{run} was trained on fold table {theirs.get('folds')}, this run's is {origin['folds']}"
        raise ConfigFault(finding("MODEL-LEAK", "pretrained", pretrained, found, f"train {run} anew on this table"))
    if not run and (theirs.get("data") == origin["data"] or theirs.get("competition") == origin["competition"]):
        found = f"weights of {theirs.get('run')}, {theirs.get('fold')}: trained on rows that other folds are scored on"
        raise ConfigFault(
            finding("MODEL-LEAK", "pretrained", pretrained, found, f"pretrained: run:{theirs.get('run')}")
        )
    return path


def _of_run(run: str, fold: str) -> Path:
    own, first = (artifacts.run_folder(run) / name / "model.safetensors" for name in (fold, fold.partition("-seed")[0]))
    return own if own.is_file() else first


def _existing(pretrained: str, path: Path) -> Path:
    if path.is_file():
        return path
    run = pretrained.removeprefix("run:") if pretrained.startswith("run:") else None
    mend = f"`make train RUN={run}` first" if run else "mend the path; it is taken from the folder of the Makefile"
    if run and path.parent.name == Split(ALL).name:
        mend = (
            f'`make train RUN={run} SET="refit=beside"` first, for this run\'s `refit` begins with a model of all rows'
        )
    raise ConfigFault(finding("MODEL-WEIGHTS", "pretrained", pretrained, f"no file {path}", mend))


def provenance(path: Path) -> dict[str, str]:
    """What one of our weights files says of where it comes from; nothing for files of others."""
    if path.suffix != ".safetensors":
        return {}
    try:
        with safe_open(path, "pt") as f:
            return f.metadata() or {}
    except (SafetensorError, OSError) as e:
        raise ConfigFault(finding("MODEL-WEIGHTS", "pretrained", str(path), str(e), "fetch the file again")) from None


def _from_file(make: Make, knobs: Training, path: Path, head_of: HeadOf) -> nn.Module:
    """timm drops a head of another size and adapts the first layer, but also takes a file of another network without a
    word: so what the file did not touch is counted, against a network made from the same random numbers."""
    with torch.random.fork_rng(devices=[]):
        fresh = make()
    try:
        loaded = make(pretrained=True, pretrained_cfg_overlay=_source(path))
    except (RuntimeError, KeyError, ValueError, OSError, EOFError) as e:
        if "weights_only" in str(e):
            raise SafetyFault(foreign(path, str(e))) from None
        raise ConfigFault(other_network(path, str(e).strip().splitlines()[0][:200])) from None
    head = head_of(loaded)
    pairs = zip(loaded.parameters(), fresh.parameters(), strict=True)
    body = [(p, q) for p, q in pairs if id(p) not in head and p.ndim > 1]  # norms and biases begin at 1 and 0
    untouched = sum(torch.equal(p, q) for p, q in body)
    if untouched > 0.1 * len(body):
        raise ConfigFault(
            other_network(path, f"{untouched} of {len(body)} tensors of {knobs.backbone} are not in the file")
        )
    return loaded


def _source(path: Path) -> dict[str, Any]:
    """What timm is told of the file; of a network with table columns beside it only timm's part."""
    if "columns" not in provenance(path):
        return {"file": str(path)}
    prefix = "network."
    return {"state_dict": {k.removeprefix(prefix): v for k, v in load_file(path).items() if k.startswith(prefix)}}


def other_network(path: Path, found: str) -> Finding:
    notes = provenance(path)
    mend = f"give the `backbone` that the file was made with ({notes.get('backbone', 'unknown')})"
    if told := versions.differences(versions.noted(notes), versions.now()):
        found, mend = f"{found}; {told}", f"{mend}, or the versions that it was made with"
    return finding("CKPT-MISMATCH", "pretrained", str(path), found, mend)


def _from_hub(make: Make, knobs: Training) -> nn.Module:
    try:
        return make(pretrained=True)
    except (OSError, RuntimeError) as e:
        raise EnvironmentFault(_no_hub(knobs, str(e).strip().splitlines()[0][:200])) from None


def _need_hub(knobs: Training) -> None:
    """Asks for the weights once, briefly: timm alone tries for 48 s before it gives up (measured)."""
    from huggingface_hub import constants, get_session, try_to_load_from_cache

    cfg = timm.get_pretrained_cfg(knobs.backbone)
    if cfg is None or not cfg.has_weights:
        mend = nearest(knobs.backbone, timm.list_pretrained()) + " or pretrained: false"
        raise ConfigFault(
            finding("MODEL-WEIGHTS", "pretrained", "true", f"{knobs.backbone} has no pretrained weights", mend)
        )
    if cfg.hf_hub_id and any(
        isinstance(try_to_load_from_cache(cfg.hf_hub_id, name), str)
        for name in ("model.safetensors", "pytorch_model.bin")
    ):
        return
    if os.environ.get("HF_HUB_OFFLINE") == "1":
        raise EnvironmentFault(_no_hub(knobs, "HF_HUB_OFFLINE=1 is set and the weights are not in the local cache"))
    try:
        get_session().head(constants.ENDPOINT, timeout=HUB_SECONDS)
    except Exception as e:  # whichever HTTP client the hub's package carries: httpx, httpx2 or requests
        raise EnvironmentFault(_no_hub(knobs, f"{constants.ENDPOINT}: {type(e).__name__}")) from None


def _no_hub(knobs: Training, found: str) -> Finding:
    return Finding(
        code="MODEL-HUB",
        what="pretrained weights can't be had",
        where=f"key pretrained, backbone {knobs.backbone}",
        found=found,
        risk="nothing was started; random weights are never taken in silence",
        mend='SET="pretrained=false" to train from scratch, or pretrained: <local weights file>, or connect to the network',
    )


def finding(code: str, key: str, value: str, found: str, mend: str) -> Finding:
    return Finding(
        code=code,
        what="the model can't be made as configured",
        where=f"key {key}: {value}",
        found=found,
        mend=mend,
    )
