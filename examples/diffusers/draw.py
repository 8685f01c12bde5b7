from diffusers import DiffusionPipeline

pipeline = DiffusionPipeline.from_pretrained("my-org/tiny-ddpm")
print("drawn", pipeline(num_inference_steps=2).images[0].size)
