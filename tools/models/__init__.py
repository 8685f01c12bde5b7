"""Write model files with made-up weights (safetensors, torch zip, GGUF), as large and compressible as real ones."""
