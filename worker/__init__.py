"""The RunPod application: restores a model at boot, and speaks with it."""
