"""The RunPod application: brings a model here at boot, and speaks with it."""
