"""A libcuda.so.1 compiled here: the driver's functions over ordinary memory, failing as it is told to.

What it is comes in the environment: FAKE_INIT (cuInit's answer), FAKE_CUDA (13000), FAKE_GPUS ("8.9,12.0"), FAKE_FREE
(bytes that can be allocated). `FAKE_LOG` names a file that gets one line for each allocation, copy and free.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

_SOURCE = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
static long given(const char *name, long otherwise) { char *text = getenv(name); return text ? atol(text) : otherwise; }
static const char *gpus(void) { char *text = getenv("FAKE_GPUS"); return text ? text : "8.9"; }
static void note(const char *what, long size) {
  char *path = getenv("FAKE_LOG"); FILE *file = path ? fopen(path, "a") : 0;
  if (file) { fprintf(file, "%s %ld\n", what, size); fclose(file); }
}
static long held, sizes[64]; static void *blocks[64];
int cuInit(unsigned flags) { return given("FAKE_INIT", 0); }
int cuDriverGetVersion(int *version) { *version = given("FAKE_CUDA", 13000); return 0; }
int cuGetErrorName(int code, const char **text) {
  *text = code == 2 ? "CUDA_ERROR_OUT_OF_MEMORY" : code == 100 ? "CUDA_ERROR_NO_DEVICE" : 0; return *text ? 0 : 1; }
int cuGetErrorString(int code, const char **text) {
  *text = code == 2 ? "out of memory" : code == 100 ? "no CUDA-capable device is detected" : 0; return *text ? 0 : 1; }
int cuDeviceGetCount(int *count) {
  const char *text = gpus(); *count = *text ? 1 : 0; for (; *text; text++) *count += *text == ','; return 0; }
int cuDeviceGet(int *device, int index) { *device = index; return 0; }
int cuDeviceGetName(char *name, int length, int device) { snprintf(name, length, "Fake GPU %d", device); return 0; }
int cuDeviceTotalMem_v2(size_t *bytes, int device) { *bytes = (size_t)80 << 30; return 0; }
int cuDeviceGetAttribute(int *value, int attribute, int device) {
  const char *text = gpus(); for (; device; text++) device -= *text == ',';
  int major = 0, minor = 0; sscanf(text, "%d.%d", &major, &minor); *value = attribute == 75 ? major : minor; return 0; }
int cuDevicePrimaryCtxRetain(void **context, int device) { *context = (void *)1; return 0; }
int cuDevicePrimaryCtxRelease_v2(int device) { return 0; }
int cuMemGetInfo_v2(size_t *free, size_t *total) {
  *total = (size_t)80 << 30; *free = given("FAKE_FREE", 1L << 30) - held; return 0; }
int cuCtxSetCurrent(void *context) { return context == (void *)1 ? 0 : 201; }
int cuMemAlloc_v2(unsigned long long *address, size_t size) {
  if (held + (long)size > given("FAKE_FREE", 1L << 30)) return 2;
  for (int i = 0; i < 64; i++) if (!blocks[i]) {
    blocks[i] = malloc(size); sizes[i] = size; held += size; *address = (unsigned long long)blocks[i];
    note("alloc", size); return 0; }
  return 2; }
int cuMemFree_v2(unsigned long long address) {
  for (int i = 0; i < 64; i++) if (blocks[i] == (void *)address) {
    note("free", sizes[i]); held -= sizes[i]; free(blocks[i]); blocks[i] = 0; return 0; }
  return 1; }
int cuStreamCreate(void **stream, unsigned flags) { *stream = (void *)7; note("stream", flags); return 0; }
int cuStreamSynchronize(void *stream) { return stream == (void *)7 ? 0 : 400; }
int cuStreamDestroy_v2(void *stream) { note("destroy", (long)stream); return stream == (void *)7 ? 0 : 400; }
int cuMemcpyHtoD_v2(unsigned long long to, const void *from, size_t size) { memcpy((void *)to, from, size); return 0; }
int cuMemcpyDtoH_v2(void *to, unsigned long long from, size_t size) { memcpy(to, (void *)from, size); return 0; }
"""


def compiled(directory: Path) -> Path:
    """The folder that holds it; skips the test, with the reason, where nothing compiles C."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler (cc, gcc) to compile a driver with")
    library = directory / "libcuda.so.1"
    command = [compiler, "-shared", "-fPIC", "-w", "-x", "c", "-", "-o", str(library)]
    subprocess.run(command, input=_SOURCE, text=True, check=True)
    return directory


def run_beside(directory: Path, script: str, **settings: object) -> str:
    """What a script prints in a process that finds only this driver."""
    environment = {**os.environ, "LD_LIBRARY_PATH": str(directory), "PYTHONPATH": str(ROOT)}
    environment |= {f"FAKE_{name.upper()}": str(value) for name, value in settings.items()}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
