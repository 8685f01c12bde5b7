#!/bin/sh
# Restore the float16 variant, then become the program, which finds it in its cache.
set -e
export CAS_STORE=s3://my-models/cas
cas run tiny:fp16 -- python draw.py
