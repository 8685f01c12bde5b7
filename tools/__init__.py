"""Local servers that stand in for the outside world, model files with made-up weights, benchmarks and the demo."""
