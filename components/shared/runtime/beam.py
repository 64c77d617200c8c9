"""How the steps run Apache Beam."""

import logging

from apache_beam.options.pipeline_options import PipelineOptions

# Named in full: `DirectRunner` of Beam 2.77 tries to download the Prism runner first.
IN_PROCESS_RUNNER = "apache_beam.runners.portability.fn_api_runner.FnApiRunner"


def pipeline_options(beam_options: list[str]) -> PipelineOptions:
    """Turns a step's `beam_options` into Beam's; the in-process runner is the default."""
    logging.getLogger("apache_beam").setLevel(logging.WARNING)
    # It logs each error that it raises, with a traceback; once is enough.
    logging.getLogger("apache_beam.runners.common").setLevel(logging.CRITICAL)
    runner = (
        []
        if any(option.startswith("--runner") for option in beam_options)
        else [f"--runner={IN_PROCESS_RUNNER}"]
    )
    return PipelineOptions([*runner, *beam_options])
