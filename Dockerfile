# The plane's image, built with no index: everything comes from the folder of wheels (`make wheels`).
#   docker build -t deepseek-plane:0.1.0 --build-arg WHEELS=wheels .
# The base image is the one thing that has to be there: `docker load` it, or name the one of your own registry. For
# `deepseek-plane backup` it needs PostgreSQL's client programs as well, of the server's version or newer; to serve
# datasets as Git repositories it needs git, without which the plane answers 503 to Git alone.
ARG PYTHON=python:3.11-slim
FROM ${PYTHON}

ARG WHEELS=dist/wheels
# plane,s3,collect for workers that collect from internal sites (docs/collecting.md); plane,s3,language for those that
# fine-tune language models (docs/language-models.md).
ARG EXTRAS=plane,s3
# Mounted, not copied: the wheels, half the size of the image, would stay in a layer of it.
RUN --mount=type=bind,source=${WHEELS},target=/wheels \
    cd /wheels && sha256sum --check --quiet SHA256SUMS && \
    python -m venv /opt/plane && \
    /opt/plane/bin/pip install --no-cache-dir --no-index --find-links /wheels --constraint constraints.txt \
      "deepseek-offline[${EXTRAS}]" ziglang

# The folders that docker-compose.yml mounts volumes over: a new volume takes owner and content from here.
RUN groupadd --gid 10001 plane && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/plane plane && \
    install -d -o plane -g plane -m 0700 /var/lib/plane /var/lib/plane/keys /var/lib/plane/checkpoints \
      /var/lib/plane/scratch /var/lib/plane/uploads /var/lib/plane/repositories /var/lib/plane/transfer \
      /var/lib/plane/artifacts \
      /var/lib/plane/artifacts/sha256

ENV PATH=/opt/plane/bin:$PATH PLANE_HOME=/var/lib/plane PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
WORKDIR /var/lib/plane
USER 10001:10001
CMD ["deepseek-plane", "web"]
