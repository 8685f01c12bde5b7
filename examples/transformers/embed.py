from sentence_transformers import SentenceTransformer

model = SentenceTransformer("sentence-transformers/all-MiniLM-L6-v2")
print(len(model.encode("a sentence", show_progress_bar=False)), "numbers")
