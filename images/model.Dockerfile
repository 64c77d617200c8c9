# The image of the other steps: Keras on JAX, without TensorFlow.
#
#   docker build --file images/model.Dockerfile --tag deep-retrieval-model .
#   docker build --file images/model.Dockerfile --build-arg EXTRA=gpu --tag deep-retrieval-model:gpu .
#
# EXTRA=gpu installs JAX with CUDA, whose libraries are wheels, so the base image stays the same.
# `deep-retrieval images build` does this for all images, with a tag for each step.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS dependencies
ARG EXTRA=model
RUN python -m pip install --no-cache-dir --quiet uv==0.13.9 && python -m venv --without-pip /opt/venv
WORKDIR /build
COPY pyproject.toml constraints.txt ./
# kfp without its dependencies, since the executor in a step needs none of them.
RUN uv pip install --quiet --no-cache --python /opt/venv/bin/python --constraints constraints.txt \
      --requirements pyproject.toml --extra "${EXTRA}" --extra cloud \
 && uv pip install --quiet --no-cache --python /opt/venv/bin/python --constraints constraints.txt \
      --no-deps kfp \
 && find /opt/venv -type d -name tests -prune -exec rm -rf {} + \
 && /opt/venv/bin/python -m compileall -q -j 0 /opt/venv/lib

FROM ${PYTHON_IMAGE}
# OpenMP, which the wheel of implicit does not contain.
RUN apt-get update && apt-get install --yes --no-install-recommends libgomp1 \
 && rm -rf /var/lib/apt/lists/*
COPY --from=dependencies /opt/venv /opt/venv
# Keras and matplotlib write their settings to HOME, and the root file system may be read-only.
# Huge pages: a training step allocates its arrays anew, and ordinary pages cost much of its time.
ENV PATH=/opt/venv/bin:${PATH} \
    GLIBC_TUNABLES=glibc.malloc.hugetlb=1 \
    PYTHONPATH=/opt/deep-retrieval \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/tmp
COPY components /opt/deep-retrieval/components
RUN python -m compileall -q /opt/deep-retrieval && python -c "import implicit.als"
ARG VERSION=0
ARG REVISION=unknown
ENV DEEP_RETRIEVAL_REVISION=${REVISION}
LABEL org.opencontainers.image.title="deep-retrieval-model" \
      org.opencontainers.image.description="the steps of the deep retrieval pipeline that need neither Beam nor TensorFlow" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
USER 65532:65532
