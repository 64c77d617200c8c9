"""A KFP 2.17 backend without pods: it drives a compiled pipeline task by task, with its cache.

Inputs are resolved, and cache keys are made, by the rules of KFP 2.17.0's
driver: backend/src/v2/driver/resolve.go and cache.go, backend/src/v2/cacheutils
/cache.go, backend/src/v2/cmd/driver/main.go. A task that runs makes new
artifacts, each with a new id as in ML Metadata; what it returns as parameters
comes from `work`.
"""

import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from compiled_pipeline import Compiled
from google.protobuf import json_format
from kfp.pipeline_spec.pipeline_spec_pb2 import ComponentSpec, PipelineTaskSpec

Values = dict[str, Any]
# Returns a task's output parameters, given its name and its input parameters.
Work = Callable[[str, Values], Values]


@dataclass
class Outputs:
    """A task's outputs: parameters, and the ids of its artifacts (for a loop, one per item)."""

    parameters: Values = field(default_factory=dict)
    artifacts: dict[str, list[int]] = field(default_factory=dict)


@dataclass
class Run:
    """A run, and which of its tasks ran.

    Args:
        name: Its display name.
        scheduled_time: The tick of a recurring run, as its workflow's label has
            it, or the time of creation of a manual run: RFC 3339.
        executed: The tasks that ran, in order.
        reused: The tasks that were served from the cache.
        inputs: Each task's resolved parameters.
    """

    name: str
    scheduled_time: str
    executed: list[str] = field(default_factory=list)
    reused: list[str] = field(default_factory=list)
    inputs: dict[str, Values] = field(default_factory=dict)


class KfpBackend:
    """The cache and the metadata store, which persist across runs.

    Args:
        work: Does the work of a task.
    """

    def __init__(self, work: Work):
        self._work = work
        self._cache: dict[str, Outputs] = {}
        self._ids = itertools.count(1)

    def run(self, compiled: Compiled, parameters: Values, *, name: str, scheduled_time: str) -> Run:
        """Run a pipeline to its end.

        Args:
            compiled: The pipeline.
            parameters: The run's values for the pipeline's parameters. As on the
                real server, placeholders in them are not replaced.
            name: Its display name.
            scheduled_time: See `Run`.
        """
        run = Run(name, scheduled_time)
        given = {**compiled.default, **parameters}
        _Driver(self, compiled, run).dag(compiled.ir.root, Outputs(given))
        return run


@dataclass
class _Driver:
    backend: KfpBackend
    compiled: Compiled
    run: Run

    def dag(self, component: ComponentSpec, given: Outputs) -> Outputs:
        """Run a group of tasks; return its outputs."""
        done: dict[str, Outputs] = {}
        for name, task in self._in_order(component):
            inputs = self._resolved(task, given, done)
            child = self.compiled.ir.components[task.component_ref.name]
            if task.HasField("parameter_iterator"):
                done[name] = self._loop(task, child, inputs)
            elif child.HasField("dag"):
                done[name] = self.dag(child, inputs)
            else:
                done[name] = self._container(name, task, child, inputs)
        artifacts = {
            name: [
                id_
                for selector in output.artifact_selectors
                for id_ in done[selector.producer_subtask].artifacts[selector.output_artifact_key]
            ]
            for name, output in component.dag.outputs.artifacts.items()
        }
        return Outputs(artifacts=artifacts)

    @staticmethod
    def _in_order(component: ComponentSpec) -> Iterator[tuple[str, PipelineTaskSpec]]:
        waiting = dict(sorted(component.dag.tasks.items()))
        while waiting:
            ready = [
                name for name, task in waiting.items() if not set(task.dependent_tasks) & {*waiting}
            ]
            assert ready, "the tasks wait for each other"
            for name in ready:
                yield name, waiting.pop(name)

    def _resolved(
        self, task: PipelineTaskSpec, given: Outputs, done: dict[str, Outputs]
    ) -> Outputs:
        """resolve.go: resolve each input from its source."""
        inputs = Outputs()
        for name, source in task.inputs.parameters.items():
            kind = source.WhichOneof("kind")
            if kind == "component_input_parameter":
                inputs.parameters[name] = given.parameters[source.component_input_parameter]
            elif kind == "task_output_parameter":
                output = source.task_output_parameter
                producer = done[output.producer_task]
                inputs.parameters[name] = producer.parameters[output.output_parameter_key]
            elif kind == "runtime_value":
                inputs.parameters[name] = self._constant(
                    json_format.MessageToDict(source.runtime_value.constant)
                )
            else:
                assert kind == "task_final_status", kind
                inputs.parameters[name] = {"state": "COMPLETE"}
        for name, source in task.inputs.artifacts.items():
            if source.WhichOneof("kind") == "component_input_artifact":
                inputs.artifacts[name] = given.artifacts[source.component_input_artifact]
            else:
                output = source.task_output_artifact
                producer = done[output.producer_task]
                inputs.artifacts[name] = producer.artifacts[output.output_artifact_key]
        return inputs

    def _constant(self, value: Any) -> Any:
        """resolve.go: replace a constant that consists of a placeholder."""
        if not isinstance(value, str):
            return value
        return {
            "{{$.pipeline_job_name}}": self.run.name,
            "{{$.pipeline_job_uuid}}": f"id of {self.run.name}",
            "{{$.pipeline_job_schedule_time_utc}}": self.run.scheduled_time,
        }.get(value, value)

    def _loop(self, task: PipelineTaskSpec, child: ComponentSpec, inputs: Outputs) -> Outputs:
        iterator = task.parameter_iterator
        items = inputs.parameters[iterator.items.input_parameter]
        turns = [
            self.dag(
                child,
                Outputs({**inputs.parameters, iterator.item_input: item}, inputs.artifacts),
            )
            for item in items
        ]
        names = turns[0].artifacts
        return Outputs(
            artifacts={n: [i for turn in turns for i in turn.artifacts[n]] for n in names}
        )

    def _container(
        self, name: str, task: PipelineTaskSpec, component: ComponentSpec, inputs: Outputs
    ) -> Outputs:
        declared = component.input_definitions.parameters
        own = {key: value for key, value in inputs.parameters.items() if key in declared}
        self.run.inputs[name] = own
        key = self._cache_key(name, component, inputs)
        cached = self.backend._cache.get(key) if task.caching_options.enable_cache else None
        if cached is not None:
            self.run.reused.append(name)
            return cached
        self.run.executed.append(name)
        outputs = Outputs(
            self.backend._work(name, own),
            {a: [next(self.backend._ids)] for a in component.output_definitions.artifacts},
        )
        assert set(outputs.parameters) == set(component.output_definitions.parameters), name
        if task.caching_options.enable_cache:
            self.backend._cache[key] = outputs
        return outputs

    def _cache_key(self, name: str, component: ComponentSpec, inputs: Outputs) -> str:
        """cacheutils/cache.go, GenerateCacheKey: the inputs' ids and values, and the container."""
        container = self.compiled.container(name)
        return json.dumps(
            {
                "input_artifacts": inputs.artifacts,
                "input_parameters": inputs.parameters,
                "output_artifacts": {
                    key: json_format.MessageToDict(output.artifact_type)
                    for key, output in component.output_definitions.artifacts.items()
                },
                "output_parameters": {
                    key: output.parameter_type
                    for key, output in component.output_definitions.parameters.items()
                },
                "image": container.image,
                "command": [*container.command, *container.args],
                "volumes": sorted(mount.constant for mount in self.compiled.pod(name).pvc_mount),
            },
            sort_keys=True,
        )
