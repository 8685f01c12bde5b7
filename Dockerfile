# The RunPod worker: F5-TTS without a model inside; it comes from your bucket at boot (worker/README.md).
#   docker build --platform linux/amd64 -t you/f5-tts-worker .
# The base is named by its digest: a tag can be moved. This one is the index of the tag's images for all platforms.
ARG BASE=python:3.11.14-slim-bookworm@sha256:65a93d69fa75478d554f4ad27c85c1e69fa184956261b4301ebaf6dbb0a3543d
FROM ${BASE}

# RUNPOD_DEBUG_LEVEL: at its default level the SDK logs whole answers: audio, and signed URLs.
# RUNPOD_VOLUME_CACHE: nothing of RunPod's that reads it may copy the model to or from a network volume, unhashed. runpod
# 1.12 does not read it, and copies nothing unless a program calls its VolumeCache.
ENV PYTHONUNBUFFERED=1 RUNPOD_DEBUG_LEVEL=INFO RUNPOD_VOLUME_CACHE=0
WORKDIR /app

# What changes least comes first: 4 GB that no change of this project's own code builds anew. The lock files hold the hash
# of every file of every package, and list all that is imported (requirements/worker.in), so pip looks for nothing else.
# It compiles what it installs: a worker that had to do that at boot would take 26 s to start instead of 10.
#
# torch with CUDA. The same layer removes what speaking does not need: headers, compilers, static libraries, profilers, and
# libraries that nothing here loads, directly or not: docs/decisions/0036-image.md says how that was found out.
COPY requirements/torch.lock requirements/
# hadolint ignore=DL3003
RUN python -m pip install --no-cache-dir --require-hashes --only-binary=:all: --no-deps -r requirements/torch.lock \
    && cd "$(python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" \
    && rm -r torch/include torch/share torch/bin/protoc* torch/bin/ptxas \
       nvidia/*/include nvidia/*/lib/*.a nvidia/*/lib/*.bc \
       nvidia/cu13/lib/libnvrtc*.alt.so* nvidia/cu13/lib/libcusolverMg.so* nvidia/cu13/lib/libnvperf_*.so \
       nvidia/cu13/lib/libpcsamplingutil.so nvidia/cu13/lib/libcheckpoint.so nvidia/cu13/lib/libnvblas.so* \
       nvidia/cu13/lib/libcufftw.so* nvidia/cudnn/lib/libcudnn_adv.so* nvidia/nvshmem/lib/nvshmem_*.so*

# The RunPod SDK, and what speaking and this project import.
COPY requirements/worker.lock requirements/
RUN python -m pip install --no-cache-dir --require-hashes --only-binary=:all: --no-deps -r requirements/worker.lock

# F5-TTS.
COPY requirements/f5.lock requirements/
RUN python -m pip install --no-cache-dir --require-hashes --only-binary=:all: --no-deps -r requirements/f5.lock

# A network volume belongs to root: --build-arg RUN_AS=root where the worker is to keep its model there.
RUN useradd --create-home --uid 1000 worker \
    && mkdir /app/models \
    && chown worker:worker /app/models

# This project is not installed: Python looks into /app first, and would take what lies there anyhow. The command is
# `python -m cas`. Compiled here, as a worker may not write here; and with no look at times, which a copy may change. Files
# keep the modes that they have where the image is built, which may be readable by their owner only.
COPY LICENSE THIRD-PARTY.md ./
# With the public keys that workers trust, manifests/keys/*.pub, and lock files in manifests/locks, where there are some.
COPY manifests manifests
COPY cas cas
COPY worker worker
RUN chmod -R a+rX cas manifests worker \
    && python -m compileall -q --invalidation-mode unchecked-hash cas worker

ARG RUN_AS=worker
USER ${RUN_AS}

CMD ["python", "-m", "worker"]
