#!/bin/sh
# Put models into ComfyUI's own folders, then start it with the store as the hub of nodes that download.
set -e
export CAS_STORE=s3://my-models/cas
cas restore sdxl --to ComfyUI/models/checkpoints --layout '{name}'
cas restore pixel-lora --to ComfyUI/models/loras --include '*.safetensors' --layout '{name}' --delete
cas serve -- python ComfyUI/main.py
