# The RunPod worker: F5-TTS without a model inside; it comes from your bucket at boot (worker/README.md).
#   docker build --platform linux/amd64 -t you/f5-tts-worker .
FROM python:3.11.14-slim-bookworm

# FFmpeg's libraries read and write audio for torchcodec and pydub.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ffmpeg \
    && rm -rf /var/lib/apt/lists/*

# At its default level the SDK logs whole answers: audio, and signed URLs.
ENV PYTHONUNBUFFERED=1 RUNPOD_DEBUG_LEVEL=INFO MPLCONFIGDIR=/app/matplotlib
WORKDIR /app

# What changes least comes first: 6 GB that no change of this project's own code builds anew. pip compiles what it
# installs: a worker that had to do that at boot would take 26 s to start instead of 10. The lock files hold the hash of
# every file of every package. Two packages come as source: what builds them is locked, too, and pip takes no other.
COPY requirements/build.lock requirements/worker.lock requirements/f5.lock requirements/
RUN python -m pip install --no-cache-dir --require-hashes -r requirements/build.lock \
    && python -m pip install --no-cache-dir --require-hashes --no-build-isolation --no-deps -r requirements/worker.lock \
    && python -m pip install --no-cache-dir --require-hashes --no-deps -r requirements/f5.lock

# matplotlib, which F5-TTS imports, looks for fonts once and writes down what it found: here, and not in each new worker.
RUN python -c "import matplotlib.font_manager"

# This project is not installed: Python looks into /app first, and would take what lies there anyhow. The command is
# `python -m cas`. Compiled here, as a worker may not write here; and with no look at times, which a copy may change. Files
# keep the modes that they have where the image is built, which may be readable by their owner only.
COPY LICENSE LICENSE
COPY manifests manifests
COPY cas cas
COPY worker worker
RUN chmod -R a+rX cas manifests worker \
    && python -m compileall -q --invalidation-mode unchecked-hash cas worker

# A network volume belongs to root: --build-arg RUN_AS=root where the worker is to keep its model there.
ARG RUN_AS=worker
# matplotlib passes over a folder that it may only read.
RUN useradd --create-home --uid 1000 worker \
    && mkdir -p /app/models \
    && chown -R worker:worker /app/models /app/matplotlib
USER ${RUN_AS}

CMD ["python", "-m", "worker"]
