#!/bin/sh
# The store is the hub of the program for as long as it runs.
set -e
export CAS_STORE=s3://my-models/cas
cas serve -- python embed.py
