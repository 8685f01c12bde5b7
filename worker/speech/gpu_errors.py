"""What torch's errors about a GPU mean: that its memory was full, or that this process cannot use it any more.

    torch.OutOfMemoryError   "CUDA out of memory. Tried to allocate …"
    torch.AcceleratorError   "CUDA error: …": a call of the CUDA runtime failed (c10/cuda/CUDAException.cpp)
    RuntimeError             "cuDNN error: CUDNN_STATUS_…", "cuDNN Frontend error: …", "cuFFT error: …",
                             "CUDA error: CUBLAS_STATUS_… when calling `…`" (ATen/cuda/Exceptions.h)

None of them says that a file is damaged. After most errors of the runtime CUDA refuses every further call of the
process. A library often fails only because it gets no memory: then CUDA still works, which a small computation shows.
"""

from __future__ import annotations

import contextlib
import re
import traceback
from collections.abc import Iterator

import torch

from worker.errors import GpuFailed, GpuFull, WorkerBroken
from worker.log import logger

_OF_LIBRARIES = re.compile(r"CUDA (driver )?error: |cuDNN (Frontend )?error: |cuFFT error: |CUBLAS_STATUS_")
_NO_CODE = "no kernel image is available"
_OUT_OF_MEMORY = re.compile(r"out of memory|CUBLAS_STATUS_ALLOC_FAILED|CUDNN_STATUS_ALLOC_FAILED|CUFFT_ALLOC_FAILED")


def is_gpu_error(error: BaseException) -> bool:
    """Return whether an error is torch's about a GPU, and not about what it was given to compute."""
    if isinstance(error, torch.OutOfMemoryError | torch.AcceleratorError):
        return True
    return isinstance(error, RuntimeError) and bool(_OF_LIBRARIES.search(str(error)))


@contextlib.contextmanager
def in_job(device: str) -> Iterator[None]:
    """Turn an error of the GPU that ends a `with` block into one that says what the job's sender should do.

    Args:
        device: what the block computes on, such as "cuda".

    Raises:
        GpuFull: the GPU can be used again: the job needed more memory than it has free.
        WorkerBroken: this process cannot use the GPU any more.
    """
    try:
        yield
    except RuntimeError as error:
        if not is_gpu_error(error):
            raise
        found = _judged(error, device)
    else:
        return
    # Outside the handler, as the error refers to the frames of the inference, and these to all its tensors.
    raise found


def _judged(error: RuntimeError, device: str) -> GpuFull | WorkerBroken:
    line = _line(error)
    logger.error(f"the GPU failed in a job: {line}", exc_info=error)
    traceback.clear_frames(error.__traceback__)
    if _is_memory_or_library(error) and _works(device):
        return GpuFull(f"the GPU has too little memory for this job ({line}): send less text", line)
    return WorkerBroken(f"the GPU failed ({line}): send the job again", line)


def _is_memory_or_library(error: RuntimeError) -> bool:
    return not isinstance(error, torch.AcceleratorError) or bool(_OUT_OF_MEMORY.search(_line(error)))


def _works(device: str) -> bool:
    """Give back what the allocator holds for reuse, and return whether the device still computes."""
    try:
        torch.cuda.empty_cache()
        return int(torch.ones(2, device=device).sum().item()) == 2
    except RuntimeError as error:
        logger.error(f"the GPU does not compute any more: {_line(error)}")
        return False


@contextlib.contextmanager
def while_loading() -> Iterator[None]:
    """Turn an error of the GPU that ends a `with` block into GpuFailed: the model's files are not to blame."""
    try:
        yield
    except (GpuFull, WorkerBroken) as error:  # of an inference that warms the model up
        raise GpuFailed(_advised(error.line)) from error
    except RuntimeError as error:
        if not is_gpu_error(error):
            raise
        raise GpuFailed(_advised(_line(error))) from error


def _advised(line: str) -> str:
    if _NO_CODE in line:
        what = f"torch {torch.__version__} has no code for it: choose GPUs of another generation"
    elif _OUT_OF_MEMORY.search(line):
        what = "the model needs more memory than it has free: choose GPUs with 16 GB or more"
    else:
        what = "it or its driver is broken, or in use by others: start the worker on another machine"
    return f"the GPU failed while the model was loaded ({line}); {what}"


def _line(error: BaseException) -> str:
    return str(error).partition("\n")[0].strip()[:200]
