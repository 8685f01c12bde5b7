"""The RunPod worker: F5-TTS from bucket to audio."""
