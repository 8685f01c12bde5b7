"""Servers on this machine: a hub, an S3 server, a RunPod platform, and a proxy that injects faults."""
