"""Apache Beam's options for the steps."""

import logging

from apache_beam.options.pipeline_options import PipelineOptions

# The full name, because `DirectRunner` of Beam 2.77 first tries to download the Prism runner.
IN_PROCESS_RUNNER = "apache_beam.runners.portability.fn_api_runner.FnApiRunner"


def pipeline_options(beam_options: list[str]) -> PipelineOptions:
    """Return Beam's options for a step.

    Args:
        beam_options: The step's setting of this name, e.g. `["--runner=FlinkRunner"]`;
            without a runner, Beam runs in this process.
    """
    logging.getLogger("apache_beam").setLevel(logging.WARNING)
    # Beam logs each error that it raises, with a traceback. The step reports it once.
    logging.getLogger("apache_beam.runners.common").setLevel(logging.CRITICAL)
    runner = (
        []
        if any(option.startswith("--runner") for option in beam_options)
        else [f"--runner={IN_PROCESS_RUNNER}"]
    )
    return PipelineOptions([*runner, *beam_options])
