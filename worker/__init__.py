"""A RunPod worker: F5-TTS from the bucket to audio."""
