"""Compares two definitions of the pipeline, in short lines."""

import json
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

from components.shared.kubeflow.json_numbers import whole_numbers
from pipeline.cluster.uploads.versions import Definition

_Path = tuple[str, ...]
_CODE = "code differs"
_INTERFACE = "interface differs"
_TEXTS = "descriptions, or kfp's version, differ"


def differences(old: Definition, new: Definition) -> list[str]:
    """Compare two compiled pipelines: parameters, images, steps and their settings.

    Returns:
        Lines such as `train: image …abc -> …def` or `parameter seed: 42 -> 7`;
        steps with the same difference share a line. Differences in code and in
        descriptions are reported without details.
    """
    before, after = dict(_leaves(old)), dict(_leaves(new))
    tasks_before, tasks_after = _tasks(before), _tasks(after)
    steps_of: dict[str, set[str]] = {}  # by difference
    for path in sorted(before.keys() | after.keys()):
        have, want = before.get(path), after.get(path)
        step, what = _subject(path)
        reported = step in tasks_before ^ tasks_after or _is_reported(path, have, want, old, new)
        if have == want or reported:
            continue
        if what not in (_CODE, _INTERFACE, _TEXTS):
            what = f"{what} {_change(have, want, is_image=path[-1] == 'image')}"
        steps_of.setdefault(what, set()).add("" if what == _TEXTS else step)
    lines = [f"step {step}: added" for step in sorted(tasks_after - tasks_before)]
    lines += [f"step {step}: removed" for step in sorted(tasks_before - tasks_after)]
    everywhere = {_step(path[2]) for path in after if path[:2] == ("deploymentSpec", "executors")}
    for what, steps in steps_of.items():
        if steps == {""}:
            lines.append(what)
        else:
            named = "all steps" if steps == everywhere else ", ".join(sorted(steps))
            lines.append(f"{named}: {what}")
    return sorted(lines, key=lambda line: not line.startswith("parameter "))


def _subject(path: _Path) -> tuple[str, str]:
    """Return the step that a path belongs to, or an empty string, and the path's meaning."""
    match path:
        case ("root", "inputDefinitions", "parameters", name, "defaultValue", *keys):
            return "", f"parameter {'.'.join([name, *keys])}:"
        case ("components", name, *_, "description"):
            return _step(name), _TEXTS
        case (*_, "description") | ("sdkVersion" | "schemaVersion",) | ("pipelineInfo", *_):
            return "", _TEXTS
        case ("root", "inputDefinitions", "parameters", name, *keys):
            return "", f"parameter {name}: {'.'.join(keys)}"
        case ("deploymentSpec", "executors", name, "container", "command" | "args"):
            return _step(name), _CODE
        case ("deploymentSpec", "executors", name, "container", *keys):
            return _step(name), ".".join(keys)
        case ("platforms", _, "deploymentSpec", "executors", name, *keys):
            return _step(name), ".".join(keys)
        case ("platforms", _, "pipelineConfig", *keys):
            return "", f"run: {'.'.join(keys)}"
        case ("root", "dag", "tasks", name, *keys) | ("components", _, "dag", "tasks", name, *keys):
            if keys[:2] == ["inputs", "parameters"]:
                keys = ["input", *(key for key in keys[2:] if key != "runtimeValue")]
            return name, ".".join(keys)
        case ("components", name, *_):
            return _step(name), _INTERFACE
    return "", ".".join(path)


def _is_reported(
    path: _Path, have: str | None, want: str | None, old: Definition, new: Definition
) -> bool:
    """Whether another line reports the same difference."""
    if path[-1] != "image" and have and want:  # publish records the images of all steps
        return have.strip('"') in old.images and want.strip('"') in new.images
    # kfp 2.17 writes limits twice: cpuLimit is a number, resourceCpuLimit a string.
    return path[-2:-1] == ("resources",) and not path[-1].startswith("resource")


def _step(name: str) -> str:
    return name.removeprefix("exec-").removeprefix("comp-")


def _tasks(leaves: Mapping[_Path, Any]) -> set[str]:
    return {
        path[path.index("tasks") + 1]
        for path in leaves
        if path[0] in ("root", "components") and ("dag", "tasks") in pairwise(path)
    }


def _leaves(definition: Definition) -> Iterator[tuple[_Path, Any]]:
    for document in (definition.ir, definition.platform):
        yield from _leaves_of(document, ())


def _leaves_of(value: Any, path: _Path) -> Iterator[tuple[_Path, Any]]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _leaves_of(inner, (*path, str(key)))
    elif path:
        yield path, json.dumps(whole_numbers(value), ensure_ascii=False, sort_keys=True)


def _change(old: str | None, new: str | None, *, is_image: bool = False) -> str:
    texts = [_shown(value) for value in (old, new)]
    if is_image and len({image.rpartition(":")[0] for image in texts}) == 1:
        texts = [f"…{image.rpartition(':')[2]}" for image in texts]
    return " -> ".join(texts)


def _shown(value: str | None) -> str:
    text = "none" if value is None else value
    text = text[1:-1] if len(text) > 2 and text[0] == text[-1] == '"' else text
    return text if len(text) <= 80 else f"{text[:79]}…"
