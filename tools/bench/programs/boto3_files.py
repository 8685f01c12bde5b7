"""Download every object below a prefix: `boto3_files.py BUCKET PREFIX FOLDER`."""

import sys
from pathlib import Path

import boto3

bucket, prefix, folder = sys.argv[1:]
client = boto3.client("s3")
for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
    for entry in page["Contents"]:
        path = Path(folder, entry["Key"].removeprefix(prefix))
        path.parent.mkdir(parents=True, exist_ok=True)
        client.download_file(bucket, entry["Key"], str(path))
