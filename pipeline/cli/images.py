"""The command `deep-retrieval images`."""

from collections.abc import Iterable
from typing import Annotated, Literal

from cyclopts import App, Parameter

from pipeline.cli.options import DEFAULT_IMAGES, ImageOptions
from pipeline.cli.output import Json, print_json, print_table, progress_on_stderr

images_app = App(
    name="images",
    help_epilogue="""\
Examples:
  deep-retrieval images build
  deep-retrieval images push --registry ghcr.io/acme --gpu
  deep-retrieval images list --json""",
)


@images_app.default
def images(
    action: Annotated[Literal["build", "push", "list"], Parameter(help="what to do")],
    /,
    *,
    images: ImageOptions = DEFAULT_IMAGES,
    engine: Annotated[
        Literal["docker", "podman"] | None,
        Parameter(help="the container engine (default: the one that is installed)"),
    ] = None,
    build_option: Annotated[
        tuple[str, ...],
        Parameter(
            metavar="OPTION",
            allow_leading_hyphen=True,
            help="pass an option to the engine's build, e.g. --build-option=--network=host; "
            "repeatable",
            show_default=False,
        ),
    ] = (),
    as_json: Json = False,
) -> int:
    """Build, push or list the images."""
    from pipeline.images import DOCKERFILES, build_image, find_engine, push_image

    found = find_engine(engine)
    if action == "list":
        _list(found, images, as_json)
        return 0
    done: list[str] = []
    with progress_on_stderr(as_json):
        for name in DOCKERFILES:
            if action == "build":
                references: Iterable[str] = build_image(
                    found, name, images.registry, gpu=images.gpu, options=build_option
                )
            else:
                references = push_image(found, name, images.registry, gpu=images.gpu)
            for reference in references:
                print(f"{'built' if action == 'build' else 'pushed'} {reference}")
                done.append(reference)
    if as_json:
        print_json({"built" if action == "build" else "pushed": done})
    return 0


def _list(engine: str, images: ImageOptions, as_json: bool) -> None:
    from pipeline.images import image_exists, step_images

    references = step_images(images.registry, gpu=images.gpu).values()
    built = {reference: image_exists(engine, reference) for reference in references}
    if as_json:
        print_json([{"image": image, "built": is_built} for image, is_built in built.items()])
        return
    rows = [(image, "built" if is_built else "not built") for image, is_built in built.items()]
    print_table(("image", "state"), rows, map("  ".join, rows))
