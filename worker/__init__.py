"""The RunPod worker: from a bucket to speech, without a GPU too."""
