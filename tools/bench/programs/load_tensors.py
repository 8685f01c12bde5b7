"""Load the tensors of a safetensors file into memory: `load_tensors.py REFERENCE PATH FRAMEWORK`."""

import json
import sys

import cas

tensors = cas.load_tensors(sys.argv[1], include=sys.argv[2], framework=sys.argv[3])
print(json.dumps({"bytes": sum(tensor.nbytes for tensor in tensors.values())}))
