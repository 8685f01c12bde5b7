"""Local stand-ins for the outside world: hub, S3 server, faulty network and models."""
